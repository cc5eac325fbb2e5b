package updater

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/rootpath"
	"github.com/ops-updater/ops-updater/updater/agent"
	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// Op names what a child is asked to do.
type Op string

// The operations of a child. Each may be repeated after a child was killed in
// the middle of it.
const (
	OpInspect       Op = "inspect"       // what disk and control say
	OpDisown        Op = "disown"        // leave the agent to whoever else wants it
	OpDigest        Op = "digest"        // ask for the md5 of a release
	OpClaim         Op = "claim"         // check that the user may work in the directory as it is
	OpInstall       Op = "install"       // download, verify, unpack, place
	OpConfig        Op = "config"        // fetch the remote config, replace the file when it changed
	OpRestoreConfig Op = "restoreConfig" // bring back the file that OpConfig replaced
	OpStop          Op = "stop"          // until nothing of the agent runs
	OpStart         Op = "start"         // until status says started
	OpReady         Op = "ready"         // check that OpActivate will not fail, and that the control script can be run
	OpCanRun        Op = "canRun"        // check that the control script of a version can be run
	OpCanStop       Op = "canStop"       // the same of a version that may run
	OpCheck         Op = "check"         // the same of the version that .version names, without running it
	OpProbe         Op = "probe"         // status, pid and health of one version
	OpActivate      Op = "activate"      // make .version name a version
	OpEvict         Op = "evict"         // end what runs in a directory that root gives up
	OpDeactivate    Op = "deactivate"    // remove .version
	OpPrune         Op = "prune"         // remove what is not kept
	OpOutput        Op = "output"        // the end of what the control script printed
	OpLimitOutput   Op = "limitOutput"   // cut what the agent wrote to it
)

// Job is one request to a child: an operation on one agent's directory.
type Job struct {
	Op       Op              `json:"op"`
	Dir      agent.Dir       `json:"dir"`
	Version  string          `json:"version,omitempty"`
	Timeouts agent.Timeouts  `json:"timeouts"`
	Env      []string        `json:"env,omitempty"` // added to the environment of control scripts
	Install  *install.Job    `json:"install,omitempty"`
	Config   *install.Config `json:"config,omitempty"`
	Limits   install.Limits  `json:"limits,omitzero"` // of OpConfig
	Prune    *agent.PruneJob `json:"prune,omitempty"`
	Owner    *agent.Owner    `json:"owner,omitempty"` // the sidecar that asks for it
	Known    []string        `json:"known,omitempty"` // versions that ran there
	Guest    bool            `json:"guest,omitempty"` // it only asks, and does not look after the agent
	Pid      int             `json:"pid,omitempty"`   // of OpLimitOutput: a process of the agent, or 0
}

// Result is a child's answer to one [Job]; the field of its operation is set.
type Result struct {
	Seen    plan.Observation `json:"seen,omitzero"`
	Install install.Result   `json:"install,omitzero"`
	Config  ConfigResult     `json:"config,omitzero"`
	Stopped agent.Stopped    `json:"stopped,omitzero"`
	Probe   plan.Probe       `json:"probe,omitzero"`
	Pruned  []string         `json:"pruned,omitempty"`
	Output  string           `json:"output,omitempty"`
	Freed   int64            `json:"freed,omitempty"` // bytes of output that were cut
}

// ConfigResult says what [OpConfig] did.
type ConfigResult struct {
	Changed bool   `json:"changed"`
	Digest  string `json:"digest"` // of the file as it is now
}

// JobError is why a child could not do a job.
type JobError struct {
	Message   string `json:"message"`
	Reason    string `json:"reason,omitempty"`    // machine-readable
	Permanent bool   `json:"permanent,omitempty"` // trying again will not help
	Host      bool   `json:"host,omitempty"`      // this host is at fault, no release is
}

func (e *JobError) Error() string { return e.Message }

// Reasons of a [JobError] that are not an install's.
const (
	reasonIncomplete = "incomplete" // the version to activate is not a complete one
	reasonBusy       = "busy"       // somebody else runs the control script, or changes the files
	reasonOwned      = "owned"      // another sidecar looks after the agent
)

// reasonUnsafePlace: somebody else can change what would be run.
const reasonUnsafePlace = "unsafe-place"

// patience is how long a child may be silent while it does the job.
func (j Job) patience() time.Duration {
	const margin = 15 * time.Second
	t := j.Timeouts
	switch j.Op {
	case OpStop:
		return 3*t.Stop + 12*t.Status + margin // once more than it takes, for the queue
	case OpStart:
		return 2*t.Start + 4*t.Status + margin
	case OpEvict:
		return 2 * time.Minute
	case OpInspect, OpProbe, OpReady, OpCanRun, OpCanStop:
		return 4*t.Status + margin
	case OpInstall, OpPrune, OpConfig, OpDigest:
		return 10 * time.Minute // stalls are noticed by the child itself, long before
	case OpActivate, OpDeactivate, OpRestoreConfig:
		return t.Start + time.Minute
	case OpCheck, OpClaim, OpOutput, OpDisown, OpLimitOutput:
	}
	return time.Minute
}

// readsStrangers: the job takes apart what came from elsewhere, and much of it;
// its child does nothing else afterwards.
func (j Job) readsStrangers() bool {
	return j.Op == OpInstall || j.Op == OpConfig || j.Op == OpDigest
}

// line is one line that a child prints.
type line struct {
	Progress *install.Progress `json:"progress,omitempty"`
	Result   *Result           `json:"result,omitempty"`
	Error    *JobError         `json:"error,omitempty"`
}

// Child does jobs until in ends: JSON jobs come in, and for each any number of
// progress lines and then one result or error line goes out. One child does
// all jobs of a transaction, so that none of them waits for a program to start.
// The end of in, or of ctx, ends what is being done.
func Child(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs := make(chan Job)
	failed := make(chan error, 1)
	go func() {
		defer cancel() // whoever asked is gone
		failed <- readJobs(ctx, in, jobs)
		close(jobs)
	}()
	w := &lineWriter{enc: json.NewEncoder(out)}
	for job := range jobs {
		answer := job.answer(ctx, w)
		if ctx.Err() != nil {
			break // what was cut short says nothing about the job: it is lost, and asked of another child
		}
		w.write(answer)
	}
	select {
	case err := <-failed:
		return err
	default: // told to end, with the input still open
		return nil
	}
}

func readJobs(ctx context.Context, in io.Reader, jobs chan<- Job) error {
	dec := json.NewDecoder(bufio.NewReader(in))
	for {
		var job Job
		if err := dec.Decode(&job); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("cannot read a job: %w", err)
		}
		select {
		case jobs <- job:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type lineWriter struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (w *lineWriter) write(l line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.enc.Encode(l) // nobody listens any more: the end of stdin follows
}

func (j Job) answer(ctx context.Context, w *lineWriter) line {
	faultpoint.Hit("child." + string(j.Op) + ".before")
	r, err := Result{}, error(nil)
	if j.Op != OpEvict { // which is for directories that fail this, and touches no file
		err = j.Dir.CheckRoots(j.Version)
	}
	if err == nil {
		r, err = j.do(ctx, func(p install.Progress) { w.write(line{Progress: &p}) })
	}
	if err == nil {
		faultpoint.Hit("child." + string(j.Op) + ".after")
		return line{Result: &r}
	}
	e := &JobError{Message: err.Error()}
	switch owned := (*agent.OwnedError)(nil); {
	case errors.Is(err, agent.ErrIncomplete):
		e.Reason = reasonIncomplete
	case errors.Is(err, agent.ErrBusy):
		e.Reason = reasonBusy
	case errors.As(err, &owned):
		e.Reason = reasonOwned
	}
	if _, others := errors.AsType[*rootpath.Error](err); others {
		e.Reason = reasonUnsafePlace
	}
	if ie := (*install.Error)(nil); errors.As(err, &ie) {
		e.Reason, e.Permanent = ie.Reason, ie.Permanent
	}
	if u, ok := errors.AsType[*agent.Unrunnable](err); ok {
		e.Reason, e.Permanent, e.Host = u.Code, !u.Host, u.Host
	}
	return line{Error: e}
}

func (j Job) do(ctx context.Context, report func(install.Progress)) (r Result, err error) {
	run := agent.Runner{Dir: j.Dir, Timeouts: j.Timeouts, Env: agent.Environment(j.Env), Owner: j.Owner, Known: j.Known, Guest: j.Guest}
	switch j.Op {
	case OpInspect:
		r.Seen, err = run.Observe(ctx)
	case OpDisown:
		j.Dir.Disown(*j.Owner)
	case OpDigest:
		r.Install.MD5, err = install.FetchMD5(ctx, j.Install.MD5URL, j.Install.Limits, j.Install.Route)
	case OpClaim:
		err = j.Dir.Claim(j.Version)
	case OpInstall:
		r.Install, err = j.install(ctx, run, report)
	case OpConfig:
		if err = run.InTurn(ctx, nothing); err == nil {
			r.Config, err = j.config(ctx)
		}
	case OpRestoreConfig:
		err = run.InTurn(ctx, j.restoreConfig)
	case OpStop:
		r.Stopped, err = run.Stop(ctx, j.Version)
	case OpEvict:
		r.Stopped, err = j.Dir.Evict(ctx)
	case OpStart:
		err = run.Start(ctx, j.Version)
	case OpProbe:
		r.Probe = run.Probe(ctx, j.Version)
	case OpReady:
		if err = j.Dir.Ready(j.Version); err == nil {
			err = run.CanRun(ctx, j.Version)
		}
	case OpCanRun:
		err = run.CanRun(ctx, j.Version)
	case OpCanStop:
		err = run.CanStop(ctx, j.Version)
	case OpCheck:
		err = run.CheckCurrent()
	case OpActivate:
		err = run.InTurn(ctx, func() error { return j.Dir.Activate(j.Version) })
	case OpDeactivate:
		err = run.InTurn(ctx, j.Dir.Deactivate)
	case OpOutput:
		r.Output, err = j.Dir.Output()
	case OpLimitOutput:
		r.Freed = j.Dir.LimitOutput(j.Pid)
	case OpPrune:
		r.Pruned, err = j.prune(ctx, run)
	default:
		err = fmt.Errorf("cannot do %q: this version of ops-updater does not know it", j.Op)
	}
	return r, err
}

// nothing is what a turn is for when it is only about whose the agent is: what
// takes long waits for nobody who only asks, and has a lock of its own.
func nothing() error { return nil }

// prune waits for an install to end, whose staging directory it would remove.
func (j Job) prune(ctx context.Context, run agent.Runner) ([]string, error) {
	if err := run.InTurn(ctx, nothing); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(j.Dir.Path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	lock, err := install.Lock(ctx, j.Dir.Path)
	if err != nil {
		return nil, err
	}
	defer lock.Remove()
	return j.Dir.Prune(*j.Prune)
}

// install reports at most ten times a second: the reader is a person.
func (j Job) install(ctx context.Context, run agent.Runner, report func(install.Progress)) (install.Result, error) {
	if err := os.MkdirAll(j.Dir.Path, 0o755); err != nil {
		return install.Result{}, fmt.Errorf("cannot make the directory of %s: %w", j.Dir.Name, err)
	}
	if err := j.Dir.CheckRoots(j.Version); err != nil { // somebody else may have made it first
		return install.Result{}, err
	}
	if err := run.InTurn(ctx, nothing); err != nil {
		return install.Result{}, err
	}
	var last time.Time
	var phase install.Progress
	return install.Run(ctx, *j.Install, func(p install.Progress) {
		if now := time.Now(); p.Phase != phase.Phase || now.Sub(last) >= 100*time.Millisecond {
			last, phase = now, p
			report(p)
		}
	})
}

// maxConfig bounds the copy of a config file that is kept for a rollback.
const maxConfig = 16 << 20

// config keeps the file that it replaces until the new one has proved itself.
func (j Job) config(ctx context.Context) (ConfigResult, error) {
	file, kept := j.configFiles()
	before, err := os.ReadFile(file)
	if err == nil && len(before) <= maxConfig {
		err = atomicfile.Write(kept, before, 0o600)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return ConfigResult{}, fmt.Errorf("cannot keep the config of %s: %w", j.Dir.Name, err)
	}
	changed, digest, err := install.FetchConfig(ctx, j.Dir.Path, j.Version, *j.Config, j.Limits)
	if err != nil || !changed {
		_ = os.Remove(kept)
	}
	return ConfigResult{Changed: changed, Digest: digest}, err
}

// restoreConfig does nothing when no file is kept.
func (j Job) restoreConfig() error {
	file, kept := j.configFiles()
	err := os.Rename(kept, file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot restore the config of %s: %w", j.Dir.Name, err)
	}
	return atomicfile.SyncDir(filepath.Dir(file))
}

func (j Job) configFiles() (file, kept string) {
	return filepath.Join(j.Dir.Path, j.Version, j.Config.FileName), filepath.Join(j.Dir.Path, ".config-before-"+j.Version)
}
