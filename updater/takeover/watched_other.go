//go:build !linux

package takeover

import (
	"syscall"

	"github.com/ops-updater/ops-updater/internal/host/process"
)

type watched struct{ id process.ID }

func follow(id process.ID) watched { return watched{id} }

func (w watched) hasEnded() bool { return !process.PollUntil(sureAfter, w.id.Alive) }

func (w watched) signal(s syscall.Signal) {
	process.Signal(process.Process{Pid: w.id.Pid, Birth: w.id.Start}, s)
}
