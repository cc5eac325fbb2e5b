//go:build !linux

package takeover

// Supported reports whether the sidecar can update itself on this system: the
// watcher has to know which program a process runs.
const Supported = false

// KeepName does nothing here.
func KeepName() {}

func runsIn(int, string) bool { return false }

// ownProgram is not known here.
const ownProgram = ""
