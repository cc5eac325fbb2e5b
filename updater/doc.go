// Package updater is the sidecar: it asks ops-meta what this host's agents
// shall be, and makes them so.
//
// The data's way: the heartbeat loop takes a reply to the [Engine]; there a
// keeper for each agent asks disk and control script what is true, [Plan]
// decides purely what is next, and a transaction, journalled, does it through
// a short-lived [Child] that runs as the agent's own user. What came of it is
// in the next heartbeat, which a finished transaction brings forward.
//
// [Run] is the daemon, [Once] the same in the foreground and once, [Check]
// what must be true before either. Package config reads cfg.json.
package updater
