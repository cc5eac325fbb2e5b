package job_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/ops-updater/ops-updater/updater/job"
)

func TestSystemCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		code string
	}{
		{&os.PathError{Op: "open", Path: "/x", Err: syscall.ENOSPC}, job.CodeNoSpace},
		{fmt.Errorf("cannot write: %w", syscall.EROFS), job.CodeReadOnly},
		{errors.Join(errors.New("first"), syscall.EMFILE), job.CodeNoResources},
		{fs.ErrPermission, job.CodeNoPermission},
		{syscall.EACCES, job.CodeNoPermission},
		{errors.New("something"), ""},
	} {
		if got := job.SystemCode(c.err); got != c.code {
			t.Errorf("%v: %q; want %q", c.err, got, c.code)
		}
	}
}
