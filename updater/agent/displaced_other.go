//go:build !linux

package agent

import "github.com/ops-updater/ops-updater/internal/host/process"

// findDisplaced: it cannot be told here.
func (r Runner) findDisplaced() (lost, deleted []process.Process) { return nil, nil }
