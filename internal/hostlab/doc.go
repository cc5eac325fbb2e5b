// Package hostlab is a host for tests: a directory with small filesystems of its
// own, a server that answers heartbeats and serves releases, agents that note when
// they go up and down, and a program that is started, stopped and struck on it like
// a sidecar by its host. It knows what anyone can know from outside: how the
// program is started, the heartbeat, what a control script is. What the program
// keeps and how it works it does not know.
package hostlab
