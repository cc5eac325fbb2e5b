// Package fleet is the server's hot path: what is wanted, compiled into an
// immutable [Snapshot], and what each host last said, in sharded memory. It
// knows neither SQL nor HTTP.
//
// # What a host is told
//
// For each agent the rules that match a host are walked, narrowest first:
// the host's own, then groups by priority (and name), then everyone. Within a
// scope the rollouts that are still unfinished come before the assignment,
// newest first. The first rule that applies wins: a rollout applies when the
// host has its grant, an assignment when it names a version. An agent none of
// whose rules applies is left out of the answer, and a host that nothing
// matches gets an empty list.
//
// A hold keeps what is there: the host is told the version it reports, with
// start when that is a release we know and start is what it would be told,
// and no configuration file; otherwise the answer only asks for a report. So
// is a host that says what only another server can have told it, while the
// database cannot be asked whether one did. A
// release without an artifact for the host's arch likewise only asks for a
// report, so that what runs there runs on.
//
// # What is kept
//
// A heartbeat whose bytes are those of the previous one but for its
// timestamps changes nothing and costs one shard lock and no allocation. A
// change is applied in memory, queued, and acknowledged when the [Journal]
// has it, or after a bounded wait: since every heartbeat carries the whole
// state, a change lost with the process is found again by the next report.
// While the journal fails, changed hosts stay marked and are written when it
// is back; only their oldest timeline lines are dropped, beyond a limit.
//
// # Two hosts under one name
//
// A host is told from another by its boot id, or by its address when it sends
// none. A boot id that comes back after another one took its place, or a
// boot older than the one known, is a second host: it is answered, but its
// reports are not merged into the first one's state, and both the problem and
// an event say so until one of them falls silent.
package fleet
