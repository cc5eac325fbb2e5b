//go:build !linux

package runas

import "os"

func programPath(path string, _ Method) (string, error) {
	if path != "" {
		return path, nil
	}
	return os.Executable()
}
