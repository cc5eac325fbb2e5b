package process

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// ID is one process of this host for good: no later one with the same
// number, on this or another boot, is taken for it.
type ID struct {
	Pid   int    `json:"pid"`
	Start string `json:"start,omitempty"` // in ticks since boot; see [birth]
	Boot  string `json:"boot,omitempty"`
	Space string `json:"space,omitempty"` // the pid namespace, in which the number counts
}

// Identify is the process with this number, for good.
func Identify(pid int) ID {
	return ID{Pid: pid, Start: Birth(pid), Boot: Boot(), Space: pidSpace()}
}

// Alive reports whether the process certainly or possibly lives. Where /proc
// hides the processes of other users, that there is one with this number on
// this boot has to do; a process of another pid namespace cannot be seen, and
// counts as alive until the next boot.
func (p ID) Alive() bool {
	switch {
	case p.Pid <= 0 || p.Boot != Boot():
		return false
	case p.Space != "" && p.Space != pidSpace():
		return true
	}
	if now := Birth(p.Pid); now != "" {
		return p.Start == "" || now == p.Start
	}
	return isHidden(p.Pid)
}

// isHidden: there is such a process, but /proc does not show it to us.
func isHidden(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	_, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
	return err != nil
}
