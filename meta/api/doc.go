// Package api is the contract between ops-meta and the people who steer it:
// the nouns of /api/v1 (agents, releases, groups, assignments, holds, hosts,
// rollouts), the rules each must satisfy, and a client for them.
//
// It is the domain in the middle of the server: the store keeps these types,
// the handlers speak them, the fleet compiles them into what hosts are told.
// It imports nothing of the server.
package api
