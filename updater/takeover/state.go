// Package takeover has one version of the sidecar take over from another in the
// process that runs, and the version before it come back when that fails.
//
// Which version is to run is kept in one file of the var directory, [State]. The
// program that is installed never changes: whatever starts it (./control, a unit
// of systemd) has it go on as the version that is current ([Launch]), which has
// answered for itself on this host. A version on trial becomes current with its
// first heartbeat that is answered, and not before: after a crash or a reboot in
// the middle, the version before it starts.
//
// A takeover goes like this, every step in the file before it is taken:
//
//	prepared   the trial is in the file; the watcher, a process of the old version
//	           that no longer depends on anything, is started
//	executing  nothing is between two states any more; the process becomes the new
//	           version and keeps its number, its lock and its listeners
//	heard      a heartbeat was answered: the new version is current, the trial over
//
// Whatever goes wrong after the first of them is an [Ending] of the trial, and the
// version before it runs again: in the same process where that lives and obeys,
// otherwise in one that is started as the first one was.
package takeover

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/filelock"
	"github.com/ops-updater/ops-updater/internal/host/process"
	"github.com/ops-updater/ops-updater/internal/plainfile"
)

// The files in the var directory.
const (
	StateName = "takeover.json"
	stateLock = "takeover.lock" // of who changes the state
	watchLock = "watcher.lock"  // of the watcher, as long as it lives
)

// maxState is far more than the state takes.
const maxState = 64 << 10

// Program is a version of the sidecar on this host's disk.
type Program struct {
	Version  string `json:"version"`
	Path     string `json:"path"`               // absolute
	Size     int64  `json:"size,omitempty"`     // bytes, of what is installed
	Modified int64  `json:"modified,omitempty"` // Unix nanoseconds, the same
	SHA256   string `json:"sha256,omitempty"`   // hex, the same
}

// State says which version of the sidecar runs after the next start.
type State struct {
	Installed Program `json:"installed"` // as it was when Current was chosen
	Current   Program `json:"current"`
	Trial     *Trial  `json:"trial,omitempty"`
}

// Stage is how far a trial is.
type Stage string

// The stages of a trial.
const (
	StagePrepared  Stage = "prepared"  // the old version still runs
	StageExecuting Stage = "executing" // the process becomes the new version, or is it
)

// Ending is why a trial ended without the new version being current.
type Ending string

// The endings of a trial. Only the first three say something about the version.
const (
	EndingDied        Ending = "died"        // the process ended
	EndingUnheard     Ending = "unheard"     // no heartbeat was answered in time
	EndingNotExecuted Ending = "notExecuted" // the process could not become it
	EndingStopped     Ending = "stopped"     // somebody stopped the sidecar
	EndingInterrupted Ending = "interrupted" // the old version ended before anything was replaced
)

// Trial is a takeover under way, or one that ended and has not been judged yet.
type Trial struct {
	From, To Program
	Process  process.ID    `json:"process"` // which is the one first and the other afterwards
	Began    time.Time     `json:"began"`
	Patience time.Duration `json:"patience"` // until a heartbeat has to be answered
	Stage    Stage         `json:"stage"`
	Ending   Ending        `json:"ending,omitempty"`
	Why      string        `json:"why,omitempty"` // of Ending
	Args     []string      `json:"args"`          // of the process, its name first
}

// Is reports whether t is the trial that other is, however far either is.
func (t *Trial) Is(other *Trial) bool {
	return t != nil && other != nil && t.Began.Equal(other.Began) && t.Process == other.Process
}

// Load reads the state in the var directory; where there is none it is empty.
func Load(varDir string) (State, error) {
	var s State
	data, err := plainfile.Read(filepath.Join(varDir, StateName), maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return State{}, fmt.Errorf("cannot read which version of the sidecar is current: %w", err)
	}
	return s, nil
}

// lockPatience is how long somebody else may take to change the state.
const lockPatience = 5 * time.Second

// Update changes the state. An error of change leaves it as it is, and so does one that
// passes. A state that cannot be read for another reason is begun anew.
func Update(varDir string, change func(*State) error) error {
	// Whoever hangs with the lock must not keep the version before it from coming back:
	// without the lock is better than not at all.
	lock, err := filelock.Take(context.Background(), filelock.Request{Path: filepath.Join(varDir, stateLock), Create: true, Patience: lockPatience})
	if err == nil {
		defer lock.Release()
	}
	s, err := Load(varDir)
	if plainfile.IsPassing(err) {
		return err
	}
	if err != nil {
		_ = plainfile.SetAside(filepath.Join(varDir, StateName), err)
		s = State{}
	}
	if err := change(&s); err != nil {
		return err
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err == nil {
		err = atomicfile.Write(filepath.Join(varDir, StateName), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("cannot write which version of the sidecar is current: %w", err)
	}
	return nil
}

// End notes why trial ended, unless it is over already: then it reports false.
func End(varDir string, trial *Trial, ending Ending, why string) (bool, error) {
	over := errors.New("it is over")
	err := Update(varDir, func(s *State) error {
		if !s.Trial.Is(trial) || s.Trial.Ending != "" {
			return over
		}
		s.Trial.Ending, s.Trial.Why = ending, why
		return nil
	})
	if errors.Is(err, over) {
		return false, nil
	}
	return err == nil, err
}

// Describe is the program at path.
func Describe(version, path string) (Program, error) {
	p := Program{Version: version, Path: path}
	f, err := os.Open(path)
	if err != nil {
		return p, err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return p, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return p, err
	}
	p.Size, p.Modified, p.SHA256 = fi.Size(), fi.ModTime().UnixNano(), hex.EncodeToString(sum.Sum(nil))
	return p, nil
}

// isUnchanged reports whether what lies at p's path is what was described.
func (p Program) isUnchanged() bool {
	fi, err := os.Stat(p.Path)
	if err != nil || fi.Size() != p.Size {
		return false
	}
	if fi.ModTime().UnixNano() == p.Modified {
		return true
	}
	now, err := Describe(p.Version, p.Path)
	return err == nil && now.SHA256 == p.SHA256
}

// Lies reports whether p lies at path, whatever links lead there.
func (p Program) Lies(path string) bool {
	a, err := os.Stat(p.Path)
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
