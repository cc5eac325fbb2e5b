package job

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/host/process"
)

// Owner is a sidecar: the process, and the var directory that tells one
// installation from another.
type Owner struct {
	Process process.ID `json:"process"`
	VarDir  string     `json:"varDir"`
	VarID   string     `json:"varId,omitempty"` // device and inode: a path may lead elsewhere in a container
}

// ThisOwner is the sidecar that is this process and has varDir locked.
func ThisOwner(varDir string) Owner {
	o := Owner{Process: process.Identify(os.Getpid()), VarDir: varDir}
	if real, err := filepath.EvalSymlinks(varDir); err == nil {
		o.VarDir = real
	}
	if fi, err := os.Stat(varDir); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			o.VarID = fmt.Sprintf("%d:%d", st.Dev, st.Ino)
		}
	}
	return o
}

func (o Owner) String() string {
	return fmt.Sprintf("the ops-updater with pid %d and var_dir %s", o.Process.Pid, o.VarDir)
}

// Same reports whether it is the same installation, also after a restart. Its var directory is
// locked, so that there is never more than one of it.
func (o Owner) Same(other Owner) bool { return o.VarDir == other.VarDir && o.VarID == other.VarID }
