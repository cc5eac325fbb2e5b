// Package heartbeat answers hosts: POST /api/heartbeat in this contract's
// dialect and POST /heartbeat in the older one's, each with its own shapes and
// errors.
//
// Who sends is asked before any of the body is read, and every limit is
// applied before anything is believed: on the time a body takes to arrive, on
// its bytes, before and after decompression, on its depth, and on what is in
// it, which is counted before anything is made of it. A
// report whose host or size cannot be accepted is refused; an agent in it that
// cannot be is left out and told as a problem of the host, since one bad agent
// must not hide the others.
//
// The server in front must limit how long a peer may take to send its header
// (http.Server's ReadHeaderTimeout).
package heartbeat
