package localsocket

import (
	"fmt"
	"os"
	"path/filepath"
)

// maxSocketPath is what sun_path holds on the smallest of our platforms.
const maxSocketPath = 100

// withShortPath calls use with a path to the same place that fits into a socket
// address, because a directory may be deeper than the address is long.
func withShortPath(path string, use func(short string) error) error {
	if len(path) <= maxSocketPath {
		return use(path)
	}
	dir, err := os.MkdirTemp("", "ops-updater-")
	if err != nil {
		return fmt.Errorf("cannot shorten %s: %w", path, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	link := filepath.Join(dir, "var")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		return fmt.Errorf("cannot shorten %s: %w", path, err)
	}
	return use(filepath.Join(link, filepath.Base(path)))
}
