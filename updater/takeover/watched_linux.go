package takeover

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/host/process"
)

// watched is a process by a descriptor. /proc does not do: while a process with
// threads becomes another program it looks there as if it had ended.
type watched struct {
	id process.ID
	fd int // -1: this kernel has none
}

// follow begins while the process certainly lives.
func follow(id process.ID) watched {
	fd, err := unix.PidfdOpen(id.Pid, 0)
	if err != nil {
		fd = -1
	}
	return watched{id, fd}
}

// hasEnded reports whether the process has ended, reaped or not.
func (w watched) hasEnded() bool {
	if w.fd < 0 {
		return !process.PollUntil(sureAfter, w.id.Alive)
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, 0)
	return err == nil && n == 1
}

func (w watched) signal(s syscall.Signal) {
	if w.fd < 0 {
		process.Signal(process.Process{Pid: w.id.Pid, Birth: w.id.Start}, s)
		return
	}
	_ = unix.PidfdSendSignal(w.fd, s, nil, 0)
}
