//go:build !linux

package server

import (
	"errors"

	"github.com/ops-updater/ops-updater/meta/api"
)

// checkSpace knows no way to ask here.
func checkSpace(string) api.Check {
	return api.Checkf("disk", api.CheckOK, "", "free space is not examined on this system")
}

// freeSpace knows no way to ask here.
func freeSpace(string) (uint64, error) { return 0, errors.ErrUnsupported }
