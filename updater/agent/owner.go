package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/updater/job"
)

// ownerFile says which sidecar looks after the agent: from the first look
// until that sidecar is gone or no longer has the agent to look after, between
// transactions as well as in them. It is written once, by a child as the
// agent's own user, in its turn of the queue.
const ownerFile = ".owner"

// maxOwnerFile is far more than an owner takes.
const maxOwnerFile = 8 << 10

// OwnedError says that another sidecar looks after the agent.
type OwnedError struct {
	Name  string
	Owner job.Owner
}

func (e *OwnedError) Error() string {
	return fmt.Sprintf("%s is looked after by %s; this one steps back until that one has ended", e.Name, e.Owner)
}

// foreignOwner is the sidecar that looks after the agent and is not o, or nil.
func (d Dir) foreignOwner(o job.Owner) *job.Owner {
	there, err := d.readOwner()
	if err != nil || there.Same(o) || there.Process == o.Process || !there.Process.Alive() {
		return nil // nobody, ourselves, or somebody who is gone
	}
	return &there
}

// takeOwnership makes o the owner, unless somebody else is.
func (d Dir) takeOwnership(o job.Owner) error {
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
func (d Dir) Disown(o job.Owner) {
	if there, err := d.readOwner(); err == nil && there.Same(o) {
		_ = os.Remove(d.file(ownerFile))
	}
}

func (d Dir) readOwner() (o job.Owner, err error) { return readOwner(d.file(ownerFile)) }

func readOwner(file string) (o job.Owner, err error) {
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
