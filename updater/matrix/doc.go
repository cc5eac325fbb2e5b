// Package matrix strikes the real program at every step of its work with every fault,
// on a host of [hostlab]: one table makes the tests TestMatrix/{step}/{phase}/{fault}.
// After each of them the invariants I1 to I7 are judged by what the host shows. A new
// step or a new fault adds its row.
//
// [hostlab]: https://pkg.go.dev/github.com/ops-updater/ops-updater/internal/hostlab
package matrix
