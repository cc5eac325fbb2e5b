//go:build !linux

package agent

import "syscall"

// birth cannot tell a process from a later one with the same number here; it
// says only whether there is one.
func birth(pid int) string {
	if syscall.Kill(pid, 0) != nil {
		return ""
	}
	return "alive"
}

// processesOf cannot be known here without the help of other programs.
func processesOf(string) ([]int, bool) { return nil, false }

func (d Dir) leftBehind() ([]int, bool) { return nil, false }

// The rest cannot be known here either.

func pidSpace() string                   { return "" }
func parentOf(int) int                   { return 0 }
func isChild(int) bool                   { return false }
func dieWithParent(*syscall.SysProcAttr) {}
func lockHolder(string) (int, asking)    { return 0, asking{} }
