package agent

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/internal/rootpath"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// Runner asks and moves one agent through its control script.
type Runner struct {
	Dir      Dir
	Timeouts job.Timeouts
	Env      []string // complete; see [control.Environment]
	Tasks    int      // of [ControlJob]

	Owner *job.Owner // the sidecar that looks after the agent; nil: none in particular
	Known []string   // versions that ran here, as far as is known
	Guest bool       // only asks, for somebody who does not look after the agent: writes and ends nothing

	inTurn bool // of the queue already
}

// Look is what the disk says, without asking the control script.
func (r Runner) Look() (plan.Observation, error) {
	o := plan.Observation{At: time.Now()}
	if r.Owner != nil {
		if other := r.Dir.foreignOwner(*r.Owner); other != nil {
			o.OwnedBy = other.String()
		}
	}
	var err error
	o.Version, _ = r.Dir.Current() // what cannot be read names nothing
	o.Versions, err = r.Dir.Versions()
	return o, err
}

// Observe asks everything that a plan needs to know. Who does not look after
// the agent is a guest, or becomes one by it.
func (r Runner) Observe(ctx context.Context) (plan.Observation, error) {
	o := plan.Observation{At: time.Now(), Status: status.Unknown("nothing is installed")}
	if r.Owner != nil {
		if other := r.Dir.foreignOwner(*r.Owner); other != nil {
			o.OwnedBy, r.Guest = other.String(), true
		}
	}
	var err error
	if o.Version, err = r.Dir.reachVersion(); err != nil {
		return o, err
	}
	if damaged := r.Dir.whyUnusable(); damaged != "" {
		o.Status = status.Unknown("nothing is installed: " + damaged)
	}
	if o.Versions, err = r.Dir.Versions(); err != nil {
		return o, err
	}
	o.Complete = o.Version != "" && r.Dir.Complete(o.Version)
	switch {
	case o.Complete:
		r.askStatus(ctx, &o)
	case o.Version == "" && len(r.Known) > 0:
		return o, r.checkDisplaced()
	case o.Version != "":
		if closed := control.CheckReach(r.Dir.file(o.Version, scriptName)); closed != nil { // since it was reached
			return o, closed
		}
		o.Status = status.Unknown(o.Version + " is named by .version but not there")
	}
	return o, nil
}

// checkDisplaced is an error where nothing is installed, but what was runs on
// from a filesystem that is no longer to be seen: what would be installed now
// would run beside it, and be hidden by the next mount.
func (r Runner) checkDisplaced() error {
	lost, _ := r.findDisplaced()
	if len(lost) == 0 {
		return nil
	}
	return control.HostFault(control.CodeDisplaced, "%s runs on as %s, from a filesystem that is no longer mounted at %s or is hidden by another mount; nothing is installed beside it: mount it again, or end the process", r.Dir.Name, lost[0], r.Dir.Path)
}

func (r Runner) askStatus(ctx context.Context, o *plan.Observation) {
	r, done, err := r.takeTurn(ctx, r.Timeouts.Status)
	if err != nil {
		o.Status, o.Busy = status.Unknown(err.Error()), errors.Is(err, ErrBusy)
		if owned, ok := errors.AsType[*OwnedError](err); ok {
			o.OwnedBy = owned.Owner.String()
		}
		return
	}
	defer done()
	o.At = time.Now()
	var n named
	o.Status, n = r.statusAndProcess(ctx, o.Version)
	if !o.Status.Started() {
		return
	}
	o.Pid = n.pid
}

// Status asks the control script of version whether the agent runs, and does
// not believe it when it names a stranger's process.
func (r Runner) Status(ctx context.Context, version string) status.Status {
	r, done, err := r.takeTurn(ctx, r.Timeouts.Status)
	if err != nil {
		return status.Unknown(err.Error())
	}
	defer done()
	s, _ := r.statusAndProcess(ctx, version)
	return s
}

// saidStatus is what control status says. It is always given the whole time
// that a status may take: an answer that we cut short ourselves would say
// nothing about the agent.
func (r Runner) saidStatus(ctx context.Context, version string) status.Status {
	o, err := r.runVerb(ctx, version, control.VerbStatus, r.Timeouts.Status)
	if err != nil {
		s := control.Unasked(err)
		if _, others := errors.AsType[*rootpath.Error](err); others {
			s.Code = job.CodeUnsafePlace
		}
		return s
	}
	return control.ParseStatus(o)
}

// Pid is the process that `control pid` names, or 0 when the agent does not
// have the verb or it names none.
func (r Runner) Pid(ctx context.Context, version string) int {
	if !r.saysPid(version) {
		return 0
	}
	r, done, err := r.takeTurn(ctx, r.Timeouts.Status)
	if err != nil {
		return 0
	}
	defer done()
	o, err := r.runVerb(ctx, version, control.VerbPid, r.Timeouts.Status)
	words := strings.Fields(o.Head)
	if err != nil || o.Failed() || len(words) == 0 {
		return 0
	}
	pid, err := strconv.Atoi(words[0])
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

// Probe asks for status, pid and, where the agent has it, health.
func (r Runner) Probe(ctx context.Context, version string) plan.Probe {
	r, done, err := r.takeTurn(ctx, r.Timeouts.Status)
	if err != nil {
		return plan.Probe{Status: status.Unknown(err.Error()), Unasked: err.Error()}
	}
	defer done()
	var p plan.Probe
	var n named
	if p.Status, n = r.statusAndProcess(ctx, version); !p.Status.Started() {
		return p
	}
	p.Pid = n.pid
	r.Dir.noteStarted(version, cmp.Or(n.pid, r.onlyPidFile(version))) // which it may not have known when it was started
	if p.HasHealth = control.Supports(r.Dir.file(version, scriptName), control.VerbHealth); !p.HasHealth {
		return p
	}
	o, err := r.runVerb(ctx, version, control.VerbHealth, r.Timeouts.Status)
	switch {
	case err != nil && control.Unasked(err).Host:
		p.Status = control.Unasked(err)
	case err != nil:
		p.Unhealthy = err.Error()
	case o.Failed():
		p.Unhealthy = o.Explain("control health")
	}
	return p
}

func (r Runner) runVerb(ctx context.Context, version, verb string, timeout time.Duration) (control.Outcome, error) {
	return r.Dir.Control(ctx, ControlJob{Version: version, Verb: verb, Timeout: timeout, Env: r.Env, Tasks: r.Tasks})
}
