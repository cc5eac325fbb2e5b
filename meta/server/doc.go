// Package server is ops-meta as a whole: it takes the configuration, opens the
// store and the artifacts, listens, and joins package backend to /api/v1, the
// heartbeat, downloads and the page. It runs the loops beside the requests, and
// takes whole data directories in and out. It holds no rules of its own.
//
// A shutdown stops in the order of what depends on what: no new connections,
// running requests end, then the fleet saves what it has, then the store
// closes.
package server
