// Package local is how people and programs on the host talk to the running
// sidecar: the local HTTP interface of the contract, for anybody who may
// connect, and a unix socket with JSON endpoints, for whoever may open it
// (mode 0600), with the client that the command line uses.
//
//	GET  /status           → Status
//	GET  /plan             → Plan
//	POST /order  Order     → {}
//	POST /reload           → Reloaded
//	GET  /output?agent=A   → Output
//
// A refusal has an HTTP status from 400 up and a body {"error": "…"}.
package local
