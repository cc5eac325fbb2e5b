package updater

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/host/process"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// loadDesired reads the last good reply. None is no error; one that cannot be
// read is set aside.
func loadDesired(path string, access stateAccess) (plan.Desired, error) {
	var d plan.Desired
	err := loadJSON(path, access, &d)
	return d, err
}

// stateAccess is what may be done with the files in the var directory.
type stateAccess int

const (
	ownState  stateAccess = iota // they are ours to change
	readState                    // somebody only asks: they stay as they are
)

func saveJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	err = atomicfile.Write(path, data, 0o600)
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(filepath.Dir(path), 0o700) == nil { // somebody cleared var while we ran
		err = atomicfile.Write(path, data, 0o600)
	}
	return err
}

// maxStateFile bounds what is read back of our own files.
const maxStateFile = 16 << 20

// passPatience is how long is waited for descriptors or memory before a file of ours
// counts as one that cannot be read.
const passPatience = 10 * time.Second

// readStateFile reads path. What only passes is no reason to give up what a file says.
func readStateFile(path string) (data []byte, err error) {
	process.PollUntil(passPatience, func() bool {
		data, err = plainfile.Read(path, maxStateFile)
		return !plainfile.IsPassing(err)
	})
	return data, err
}

// loadJSON reads path into v. A missing file leaves v as it is. A file that
// cannot be understood is set aside as {path}.corrupt-{time}, with an error
// that says so, and v is left as it is.
func loadJSON[T any](path string, access stateAccess, v *T) error {
	data, err := readStateFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var read T
	switch {
	case err != nil:
	case len(bytes.Trim(data, "\x00 \n")) == 0:
		err = errors.New("it is empty, as a power cut leaves it")
	default:
		err = json.Unmarshal(data, &read)
	}
	if err != nil && access == readState {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	if err != nil {
		return setAside(path, err)
	}
	*v = read
	return nil
}

// setAside keeps a file that is of no use for those who look for the reason.
func setAside(path string, why error) error {
	err := plainfile.SetAside(path, why)
	if moved, ok := errors.AsType[*plainfile.AsideError](err); ok {
		return fmt.Errorf("cannot read %s, set aside as %s: %w", path, filepath.Base(moved.As), why)
	}
	return fmt.Errorf("cannot read %s: %w", path, err)
}
