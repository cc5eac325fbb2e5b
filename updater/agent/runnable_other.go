//go:build !linux

package agent

// mountedNoexec cannot be told here; the kernel says only that it refuses.
func mountedNoexec(string) (string, bool) { return "", false }

// MountedNoexec reports whether nothing can be executed below dir; that cannot
// be told here.
func MountedNoexec(string) (string, bool) { return "", false }

// checkProgram leaves it to the kernel.
func checkProgram(string, bool) error { return nil }

// MountedReadOnly cannot be told here.
func MountedReadOnly(string) (at string, is bool) { return "", false }
