// Package server is ops-meta as a whole: it opens the store, the fleet and
// the artifacts, joins them behind /api/v1 and the heartbeat, and runs the
// loops between them. It holds no rules of its own.
//
// Every operator's write goes through [Server.write]: the store makes it
// durable with its audit entry, then the new snapshot is compiled and in use
// on this server before the caller hears of success. Other replicas compile
// theirs when the store tells them of the new serial.
//
// A shutdown stops in the order of what depends on what: no new connections,
// running requests end, then the fleet saves what it has, then the store
// closes.
package server
