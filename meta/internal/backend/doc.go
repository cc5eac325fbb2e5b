// Package backend is what ops-meta does when an operator or a host calls: its
// use-cases, a file for each noun. It joins what is stored, the fleet and the
// rollouts, and knows nothing of HTTP, of listening and of files with
// settings: package server does, and puts both together.
//
// Every operator's write goes through [core.write]: the store makes it durable
// with its audit entry, then the new snapshot is compiled and in use on this
// server before the caller hears of success. Other replicas compile theirs
// when the store tells them of the new serial.
package backend
