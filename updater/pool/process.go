package pool

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/host/runas"
	"github.com/ops-updater/ops-updater/updater/job"
)

// Child does jobs on agents' directories as one user.
type Child interface {
	// Do sends one job and waits for its answer. The end of ctx ends the child
	// with it, and so does silence for longer than patience.
	Do(ctx context.Context, j job.Job, patience time.Duration, progress func(job.Progress)) (job.Result, error)
	// Close ends the child.
	Close()
}

// ErrLost says that the child ended without an answer. Whether the job was done
// must be asked; every job may be repeated.
var ErrLost = errors.New("the child process ended without an answer")

// closePatience is how long a child may take to end once it was told to.
const closePatience = 5 * time.Second

// maxLine bounds what a child may print in one line: it runs as a user that
// root does not trust.
const maxLine = 1 << 20

// maxStderr is how much of what a child printed to stderr is kept.
const maxStderr = 4 << 10

// process is a running child, seen from its parent.
type process struct {
	user   string
	method runas.Method
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan job.Line // closed when the child's output ends
	stderr *runas.Excerpt
	ended  chan struct{}
}

// proxyEnvironment are the proxy settings of our environment, which a child that
// downloads needs as well. Control scripts do not get them, and sudo drops
// them: then the proxy belongs into the configuration.
func proxyEnvironment() (env []string) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Start starts a child as user: this very program, with the argument
// "child".
func Start(ctx context.Context, user string) (Child, error) {
	command := runas.Command{User: user, Args: []string{"child"}, Env: append(faultpoint.Environment(), proxyEnvironment()...)}
	cmd, method, err := runas.Prepare(ctx, command)
	if err != nil {
		return nil, err
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start a child: %w", err)
	}
	r, out, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start a child: %w", err)
	}
	p := &process{user: user, method: method, cmd: cmd, stdin: stdin, lines: make(chan job.Line), stderr: runas.NewExcerpt(maxStderr), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, p.stderr
	cmd.WaitDelay = time.Second // for a stderr that something else holds open
	err = cmd.Start()
	_ = out.Close()
	if err != nil {
		_ = r.Close()
		return nil, &runas.Error{User: user, Method: method, Why: runas.ExplainStart(method, user, cmd.Path, err), Err: err}
	}
	go p.readLines(r)
	go func() {
		defer close(p.ended)
		_ = cmd.Wait()
		// Whoever else holds the pipe is not the child.
		_ = r.SetReadDeadline(time.Now().Add(time.Second))
	}()
	return p, nil
}

func (p *process) readLines(r *os.File) {
	defer func() { _ = r.Close() }()
	defer close(p.lines)
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxLine)
	for sc.Scan() {
		var l job.Line
		if json.Unmarshal(sc.Bytes(), &l) != nil {
			l.Error = &job.Error{Message: fmt.Sprintf("the child printed %.80q", sc.Text())}
		}
		select {
		case p.lines <- l:
		case <-p.ended:
			select { // the last answer of a child that has ended counts
			case p.lines <- l:
			case <-time.After(time.Second):
			}
		}
	}
}

func (p *process) Do(ctx context.Context, j job.Job, patience time.Duration, progress func(job.Progress)) (job.Result, error) {
	if err := json.NewEncoder(p.stdin).Encode(j); err != nil {
		return job.Result{}, p.explainLoss()
	}
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for {
		select {
		case <-silence.C:
			p.Close()
			return job.Result{}, fmt.Errorf("%w: no word for %v while it had to %s", ErrLost, patience, j.Op)
		case l, ok := <-p.lines:
			silence.Reset(patience)
			switch {
			case !ok:
				return job.Result{}, p.explainLoss()
			case l.Error != nil:
				return job.Result{}, l.Error
			case l.Result != nil:
				return *l.Result, nil
			case l.Progress != nil && progress != nil:
				progress(*l.Progress)
			}
		case <-ctx.Done():
			p.Close()
			return job.Result{}, ctx.Err()
		}
	}
}

func (p *process) explainLoss() error {
	p.Close()
	select {
	case <-p.ended:
		return fmt.Errorf("%w: %s (%v)", ErrLost, runas.ExplainExit(p.method, p.user, p.stderr.String()), p.cmd.ProcessState)
	default:
		return ErrLost // and it cannot be killed
	}
}

// Close ends the child: the end of its input tells it to end what it does. A
// child that does not, and cannot be killed because sudo started it, is left.
func (p *process) Close() {
	_ = p.stdin.Close()
	if p.drainUntilEnd(closePatience) {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.drainUntilEnd(closePatience)
}

// drainUntilEnd throws away what the child still says until it has ended.
func (p *process) drainUntilEnd(patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	lines := p.lines
	for {
		select {
		case <-p.ended:
			return true
		case _, ok := <-lines:
			if !ok {
				lines = nil
			}
		case <-timer.C:
			return false
		}
	}
}
