// Package meta is the contract between a host and ops-meta: the heartbeat's
// wire types in both dialects, the rules for what may appear in them, the
// addresses of artifacts, the order of versions, and an HTTP client for the
// heartbeat.
//
// Both programs link it. Names in JSON are fixed, because peers that nobody
// here wrote speak them; unknown fields are ignored in both directions, which
// is how the protocol grows.
//
// Everything received is unverified until [DesiredAgent.Validate] has passed it
// on the host, or the decoder of heartbeats on the server; validate once, at the
// edge.
package meta
