// Package updater is the sidecar: it asks ops-meta what this host's agents
// shall be, and makes them so.
//
// The data's way: the heartbeat loop takes a reply to the [Engine]; there a
// keeper for each agent has disk and control script asked what is true, package
// plan decides purely what is next, and a transaction, journalled, does it by
// jobs for a short-lived child that runs as the agent's own user and that a pool
// lends. What came of it is in the next heartbeat, which a finished transaction
// brings forward. Nothing in here may look into an agent's directory.
//
// [Run] is the daemon, [Once] the same in the foreground and once, [Check]
// what must be true before either. Package config reads cfg.json.
package updater
