package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/tidwall/sjson"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
)

// SetKeys writes text keys into the file at path, and leaves everything else in it as it
// is. Keys without a value, and those that have it already, change nothing; a file that is
// not there is made, 0600. What the keys may be is for [Load] to say.
func SetKeys(path string, keys map[string]string) error {
	data, err := readFile(path)
	mode := fs.FileMode(0o600)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = []byte("{}"), nil
	} else if fi, statErr := os.Stat(path); statErr == nil {
		mode = fi.Mode().Perm()
	}
	if err != nil {
		return fmt.Errorf("cannot read the configuration: %w", err)
	}
	var has map[string]json.RawMessage
	if err := json.Unmarshal(data, &has); err != nil {
		return nil //nolint:nilerr // Load says where it is wrong
	}
	changed := false
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		value := keys[key]
		var is string
		if value == "" || json.Unmarshal(has[key], &is) == nil && is == value {
			continue
		}
		if data, err = sjson.SetBytes(data, key, value); err != nil {
			return fmt.Errorf("cannot set %s in %s: %w", key, path, err)
		}
		changed = true
	}
	if !changed {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot make the directory of the configuration: %w", err)
	}
	if len(has) == 0 {
		if data, err = indent(data); err != nil {
			return err
		}
	}
	// Where path is a link, what it leads to is changed, and it stays one.
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		real = path
	} else if err != nil {
		return err
	}
	if err := atomicfile.Write(real, data, mode); err != nil {
		return fmt.Errorf("cannot write the configuration: %w", err)
	}
	return nil
}

func indent(data []byte) ([]byte, error) {
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(all, "", "    ")
	return append(data, '\n'), err
}
