package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/host/process"
)

// ownerFile says which sidecar looks after the agent: from the first look
// until that sidecar is gone or no longer has the agent to look after, between
// transactions as well as in them. It is written once, by a child as the
// agent's own user, in its turn of the queue.
const ownerFile = ".owner"

// maxOwnerFile is far more than an owner takes.
const maxOwnerFile = 8 << 10

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

// same: the same installation, also after a restart. Its var directory is
// locked, so that there is never more than one of it.
func (o Owner) same(other Owner) bool { return o.VarDir == other.VarDir && o.VarID == other.VarID }

// OwnedError says that another sidecar looks after the agent.
type OwnedError struct {
	Name  string
	Owner Owner
}

func (e *OwnedError) Error() string {
	return fmt.Sprintf("%s is looked after by %s; this one steps back until that one has ended", e.Name, e.Owner)
}

// foreignOwner is the sidecar that looks after the agent and is not o, or nil.
func (d Dir) foreignOwner(o Owner) *Owner {
	there, err := d.readOwner()
	if err != nil || there.same(o) || there.Process == o.Process || !there.Process.Alive() {
		return nil // nobody, ourselves, or somebody who is gone
	}
	return &there
}

// own makes o the owner, unless somebody else is.
func (d Dir) own(o Owner) error {
	if other := d.foreignOwner(o); other != nil {
		return &OwnedError{d.Name, *other}
	}
	if there, err := d.readOwner(); err == nil && there == o {
		return nil
	}
	if _, err := os.Lstat(d.Path); errors.Is(err, fs.ErrNotExist) {
		return nil // there is nothing yet
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	// Where nothing can be written, the agent is looked after all the same: a
	// full disk must not keep it down.
	_ = atomicfile.Write(d.file(ownerFile), append(data, '\n'), 0o644)
	return nil
}

// Disown leaves the agent to whoever wants it, if it is o's.
func (d Dir) Disown(o Owner) {
	if there, err := d.readOwner(); err == nil && there.same(o) {
		_ = os.Remove(d.file(ownerFile))
	}
}

func (d Dir) readOwner() (o Owner, err error) { return readOwner(d.file(ownerFile)) }

func readOwner(file string) (o Owner, err error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return o, err
	}
	defer func() { _ = f.Close() }()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return o, errors.Join(err, errors.New("not a regular file"))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxOwnerFile))
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(text, &o)
}
