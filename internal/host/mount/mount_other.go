//go:build !linux

package mount

// Noexec reports whether nothing can be executed below dir; that cannot
// be told here.
func Noexec(string) (string, bool) { return "", false }

// ReadOnly cannot be told here.
func ReadOnly(string) (at string, is bool) { return "", false }
