package agent

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// Timeouts bound the runs of a control script.
type Timeouts struct {
	Status time.Duration `json:"status"` // also pid and health
	Start  time.Duration `json:"start"`  // until status says started
	Stop   time.Duration `json:"stop"`   // until status says stoped
}

// Runner asks and moves one agent through its control script.
type Runner struct {
	Dir      Dir
	Timeouts Timeouts
	Env      []string // complete; see [Environment]
}

// Observation is what disk and control say about an agent, now.
type Observation struct {
	Version  string    `json:"version,omitempty"` // that .version names
	Complete bool      `json:"complete"`          // and is there
	Versions []string  `json:"versions,omitempty"`
	Status   Status    `json:"status"` // of Version
	Pid      int       `json:"pid,omitempty"`
	At       time.Time `json:"at"` // when status was asked

	Freed int64 `json:"freed,omitempty"` // bytes by which .control.out was cut
}

// Observe asks everything that a plan needs to know.
func (r Runner) Observe(ctx context.Context) (Observation, error) {
	o := Observation{At: time.Now(), Status: unknown("nothing is installed"), Freed: r.Dir.LimitOutput()}
	var err error
	if o.Version, err = r.Dir.Current(); err != nil {
		return o, err
	}
	if o.Versions, err = r.Dir.Versions(); err != nil {
		return o, err
	}
	o.Complete = o.Version != "" && r.Dir.Complete(o.Version)
	switch {
	case o.Complete:
		var n named
		o.Status, n = r.statusAndProcess(ctx, o.Version)
		if o.Status.Started() {
			o.Pid = n.pid
			o.Freed += r.Dir.limitDeletedOutput(o.Pid)
		}
	case o.Version != "":
		o.Status = unknown(o.Version + " is named by .version but not there")
	}
	return o, nil
}

// Status asks the control script of version whether the agent runs, and does
// not believe it when it names a stranger's process.
func (r Runner) Status(ctx context.Context, version string) Status {
	s, _ := r.statusAndProcess(ctx, version)
	return s
}

// saidStatus is what control status says. It is always given the whole time
// that a status may take: an answer that we cut short ourselves would say
// nothing about the agent.
func (r Runner) saidStatus(ctx context.Context, version string) Status {
	o, err := r.run(ctx, version, VerbStatus, r.Timeouts.Status)
	if err != nil {
		return unknown(err.Error())
	}
	return ParseStatus(o)
}

// Pid is the process that `control pid` names, or 0 when the agent does not
// have the verb or it names none.
func (r Runner) Pid(ctx context.Context, version string) int {
	if !supports(r.Dir.file(version, control), VerbPid) {
		return 0
	}
	o, err := r.run(ctx, version, VerbPid, r.Timeouts.Status)
	words := strings.Fields(o.Head)
	if err != nil || o.ExitCode != 0 || o.TimedOut || len(words) == 0 {
		return 0
	}
	pid, err := strconv.Atoi(words[0])
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

// Probe is one look during probation.
type Probe struct {
	Status    Status `json:"status"`
	Pid       int    `json:"pid,omitempty"`
	HasHealth bool   `json:"hasHealth,omitempty"`
	Unhealthy string `json:"unhealthy,omitempty"` // why control health failed
}

// Probe asks for status, pid and, where the agent has it, health.
func (r Runner) Probe(ctx context.Context, version string) Probe {
	var p Probe
	var n named
	if p.Status, n = r.statusAndProcess(ctx, version); !p.Status.Started() {
		return p
	}
	p.Pid = n.pid
	r.Dir.noteStarted(version, n.pid) // which it may not have known when it was started
	if p.HasHealth = supports(r.Dir.file(version, control), VerbHealth); !p.HasHealth {
		return p
	}
	o, err := r.run(ctx, version, VerbHealth, r.Timeouts.Status)
	switch {
	case err != nil:
		p.Unhealthy = err.Error()
	case o.TimedOut || o.ExitCode != 0:
		p.Unhealthy = o.explain("control health")
	}
	return p
}

func (r Runner) run(ctx context.Context, version, verb string, timeout time.Duration) (Outcome, error) {
	return r.Dir.Control(ctx, ControlJob{Version: version, Verb: verb, Timeout: timeout, Env: r.Env})
}
