package job

import (
	"errors"
	"io/fs"
	"syscall"
)

// Codes of what the system refuses, whoever asked it.
const (
	CodeNoSpace      = "no-space"      // the disk is full, or would be
	CodeReadOnly     = "read-only"     // filesystem
	CodeNoPermission = "no-permission" // the user may not do that there
	CodeNoResources  = "no-resources"  // the host gives no process, memory or file
	CodeIO           = "io"            // anything else
)

var systemCodes = []struct {
	is   error
	code string
}{
	{syscall.ENOSPC, CodeNoSpace},
	{syscall.EDQUOT, CodeNoSpace},
	{syscall.EROFS, CodeReadOnly},
	{syscall.EMFILE, CodeNoResources},
	{syscall.ENFILE, CodeNoResources},
	{syscall.EAGAIN, CodeNoResources},
	{syscall.ENOMEM, CodeNoResources},
	{fs.ErrPermission, CodeNoPermission},
}

// SystemCode is the code of an error that the system gave, or nothing.
func SystemCode(err error) string {
	for _, c := range systemCodes {
		if errors.Is(err, c.is) {
			return c.code
		}
	}
	return ""
}
