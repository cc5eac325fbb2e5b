//go:build !linux

package process

import "syscall"

// Birth cannot tell a process from a later one with the same number here; it
// says only whether there is one.
func Birth(pid int) string {
	if syscall.Kill(pid, 0) != nil {
		return ""
	}
	return "alive"
}

// InDirectory cannot be known here without the help of other programs.
func InDirectory(string) ([]int, bool) { return nil, false }

// These cannot be known here either.

// LivesIn reports whether the program or the working directory of pid is in dir.
func LivesIn(int, string) bool { return false }

// OnTerminal reports whether pid has a controlling terminal, which is believed.
func OnTerminal(int) bool { return true }

func pidSpace() string                   { return "" }
func Parent(int) int                     { return 0 }
func DieWithParent(*syscall.SysProcAttr) {}
