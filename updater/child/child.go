// Package child is what runs in the short-lived child process, as an agent's own
// user: everything that reads or writes below a work directory, or takes apart
// what came from elsewhere. No other package may import what does that
// (updater/agent, updater/install), so that the resident process cannot walk a
// directory that another user can rewrite. What the two say to each other is
// package job.
package child

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/host/control"
	"github.com/ops-updater/ops-updater/internal/rootpath"
	"github.com/ops-updater/ops-updater/updater/agent"
	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/job"
)

// Serve does jobs until in ends: JSON jobs come in, and for each any number of
// progress lines and then one result or error line goes out. One child does
// all jobs of a round, so that none waits for a program to start, unless it took
// a release apart: that one is not used again.
// The end of in, or of ctx, ends what is being done.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	jobs := make(chan job.Job)
	failed := make(chan error, 1)
	go func() {
		defer cancel() // whoever asked is gone
		failed <- readJobs(ctx, in, jobs)
		close(jobs)
	}()
	w := &lineWriter{enc: json.NewEncoder(out)}
	for j := range jobs {
		answer := answerJob(ctx, j, w)
		if ctx.Err() != nil {
			break // what was cut short says nothing about the job: it is lost, and asked of another child
		}
		w.writeLine(answer)
	}
	select {
	case err := <-failed:
		return err
	default: // told to end, with the input still open
		return nil
	}
}

func readJobs(ctx context.Context, in io.Reader, jobs chan<- job.Job) error {
	dec := json.NewDecoder(bufio.NewReader(in))
	for {
		var j job.Job
		if err := dec.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("cannot read a job: %w", err)
		}
		select {
		case jobs <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type lineWriter struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (w *lineWriter) writeLine(l job.Line) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.enc.Encode(l) // nobody listens any more: the end of stdin follows
}

// answerJob does j and says what came of it.
func answerJob(ctx context.Context, j job.Job, w *lineWriter) job.Line {
	faultpoint.Hit("child." + string(j.Op) + ".before")
	t := newTask(j)
	r, err := job.Result{}, faultpoint.Fail("child."+string(j.Op))
	if err == nil && j.Op != job.OpEvict { // which is for directories that fail this, and touches no file
		err = t.dir.CheckRoots(j.Version)
	}
	if err == nil {
		r, err = t.performJob(ctx, func(p job.Progress) { w.writeLine(job.Line{Progress: &p}) })
	}
	if err == nil {
		faultpoint.Hit("child." + string(j.Op) + ".after")
		return job.Line{Result: &r}
	}
	told := errorOf(err)
	told.Code = cmp.Or(told.Code, job.SystemCode(err), usualCode(j.Op))
	return job.Line{Error: told}
}

// errorOf is what the resident process is told of err: the words, and what it
// needs to know to act on it.
func errorOf(err error) *job.Error {
	if je, ok := errors.AsType[*job.Error](err); ok {
		return je
	}
	e := &job.Error{Message: err.Error()}
	switch owned := (*agent.OwnedError)(nil); {
	case errors.Is(err, agent.ErrIncomplete):
		e.Code = job.CodeIncomplete
	case errors.Is(err, agent.ErrBusy):
		e.Code = job.CodeBusy
	case errors.As(err, &owned):
		e.Code = job.CodeOwned
	}
	if _, others := errors.AsType[*rootpath.Error](err); others {
		e.Code = job.CodeUnsafePlace
	}
	if ie := (*install.Error)(nil); errors.As(err, &ie) {
		e.Code, e.Permanent = ie.Code, ie.Permanent
	}
	if u, ok := errors.AsType[*control.Unrunnable](err); ok {
		e.Code, e.Permanent, e.Host = u.Code, !u.Host, u.Host
	}
	return e
}

// usualCode is of an error that says nothing more than that the job was not done. That
// a version did not start has a code of the transaction's.
func usualCode(op job.Op) string {
	switch op {
	case job.OpStart:
		return ""
	case job.OpStop, job.OpEvict:
		return job.CodeNotStopped
	default:
		return job.CodeIO
	}
}

// task is a job and whom it is about.
type task struct {
	job.Job
	dir agent.Dir
	run agent.Runner
}

func newTask(j job.Job) task {
	dir := agent.Dir(j.Dir)
	return task{Job: j, dir: dir, run: agent.Runner{Dir: dir, Timeouts: j.Timeouts, Env: control.Environment(j.Env), Owner: j.Owner, Known: j.Known, Guest: j.Guest}}
}
