//go:build !linux

package agent

import "github.com/ops-updater/ops-updater/internal/host/process"

// displaced: it cannot be told here.
func (r Runner) displaced() (lost, deleted []process.Process) { return nil, nil }
