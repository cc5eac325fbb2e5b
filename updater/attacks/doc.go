// Package attacks mounts, against the real sidecar, every attack of the table in
// docs/TRUST.md: a server, a mirror, an archive or an agent's user that is hostile.
// Each test sees the attack refused and reported with its reason code, and what ran before
// running on. It has no code of its own beside its tests.
package attacks
