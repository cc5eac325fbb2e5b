package takeover

import (
	"fmt"
	"os"
)

// Supported reports whether the sidecar can update itself on this system.
const Supported = true

// KeepName names the process as ./control knows it, also when it was started by a
// descriptor.
func KeepName() {
	_ = os.WriteFile(fmt.Sprintf("/proc/self/task/%d/comm", os.Getpid()), []byte("ops-updater"), 0)
}

// runsIn reports whether the process runs the program at path.
func runsIn(pid int, path string) bool {
	a, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// ownProgram is the program of this process, also when its file was removed.
const ownProgram = "/proc/self/exe"
