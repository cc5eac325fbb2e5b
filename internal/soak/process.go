package soak

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// process is one that works for the sidecar or is an agent's.
type process struct {
	pid, parent int
	dir         string // it works in
	args        string
}

// isApp: it is an application, not a control script.
func (p process) isApp() bool { return strings.Contains(p.args, "./app") }

// allProcesses are those that live.
func allProcesses() (all []process) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		p := process{pid: pid}
		var state string
		if _, err := fmt.Sscan(rest, &state, &p.parent); err != nil || state == "Z" {
			continue
		}
		p.dir, _ = os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		p.args = strings.TrimSpace(strings.ReplaceAll(string(args), "\x00", " "))
		all = append(all, p)
	}
	return all
}

// processesBelow are those that work in a directory of an agent.
func (h *host) processesBelow() []process {
	return slices.DeleteFunc(allProcesses(), func(p process) bool {
		return !slices.ContainsFunc(h.places, func(place string) bool { return strings.HasPrefix(p.dir, place+"/") })
	})
}

// apps are the applications of an agent. What a shell forked and has not become
// another program yet is not another application.
func (h *host) apps(agent string) []process {
	var found []process
	for _, p := range h.processesBelow() {
		if p.isApp() && filepath.Base(filepath.Dir(p.dir)) == agent {
			found = append(found, p)
		}
	}
	return slices.DeleteFunc(slices.Clone(found), func(p process) bool {
		return slices.ContainsFunc(found, func(other process) bool { return other.pid == p.parent })
	})
}

// children are the short-lived children of the sidecar.
func (h *host) children() []process {
	if h.sidecar == nil {
		return nil
	}
	return slices.DeleteFunc(allProcesses(), func(p process) bool { return p.parent != h.sidecar.cmd.Process.Pid })
}

// scripts are control scripts at work, and what they wait for.
func (h *host) scripts() []process {
	return slices.DeleteFunc(h.processesBelow(), func(p process) bool {
		return p.isApp() || !strings.Contains(p.args, "control") || filepath.Base(filepath.Dir(p.dir)) == bystander
	})
}
