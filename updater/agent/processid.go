package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// processID is one process of this host for good: no later one with the same
// number, on this or another boot, is taken for it.
type processID struct {
	Pid   int    `json:"pid"`
	Start string `json:"start,omitempty"` // in ticks since boot; see [birth]
	Boot  string `json:"boot,omitempty"`
	Space string `json:"space,omitempty"` // the pid namespace, in which the number counts
}

func processOf(pid int) processID {
	return processID{Pid: pid, Start: birth(pid), Boot: thisBoot(), Space: pidSpace()}
}

// alive reports whether the process certainly or possibly lives. Where /proc
// hides the processes of other users, that there is one with this number on
// this boot has to do; a process of another pid namespace cannot be seen, and
// counts as alive until the next boot.
func (p processID) alive() bool {
	switch {
	case p.Pid <= 0 || p.Boot != thisBoot():
		return false
	case p.Space != "" && p.Space != pidSpace():
		return true
	}
	if now := birth(p.Pid); now != "" {
		return p.Start == "" || now == p.Start
	}
	return hidden(p.Pid)
}

// hidden: there is such a process, but /proc does not show it to us.
func hidden(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	_, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
	return err != nil
}

// asking is a control script that answers a question, found among processes.
type asking struct {
	script string // its path
	verb   string
	since  time.Time
}

func (a asking) name(d Dir) string {
	if a.script == "" {
		return "its control script"
	}
	return "control " + a.verb + " of " + filepath.Base(strings.TrimSuffix(strings.TrimPrefix(a.script, d.Path+"/"), "/"+control))
}

func (a asking) age() string {
	if a.since.IsZero() {
		return ""
	}
	return " since " + roundly(max(time.Since(a.since), 0))
}
