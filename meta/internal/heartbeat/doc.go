// Package heartbeat answers hosts: POST /api/heartbeat in this contract's
// dialect and POST /heartbeat in the older one's, each with its own shapes and
// errors.
//
// Every limit is applied before anything is believed: on the bytes of the
// body, before and after decompression, on its depth, and on what is in it. A
// report whose host or size cannot be accepted is refused; an agent in it that
// cannot be is left out and told as a problem of the host, since one bad agent
// must not hide the others.
//
// The server in front must limit how long a peer may take to send its bytes
// (http.Server's ReadTimeout).
package heartbeat
