package updater

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
	"github.com/ops-updater/ops-updater/updater/install"
)

// hands do jobs on agents' directories as one user.
type hands interface {
	// do sends one job and waits for its answer. The end of ctx ends the hands
	// with it, and so does silence for longer than patience.
	do(ctx context.Context, job Job, patience time.Duration, progress func(install.Progress)) (Result, error)
	close()
}

// errChildLost: the child ended without an answer. Whether the job was done
// must be asked; every job may be repeated.
var errChildLost = errors.New("the child process ended without an answer")

// closePatience is how long a child may take to end once it was told to.
const closePatience = 5 * time.Second

// maxLine bounds what a child may print in one line: it runs as a user that
// root does not trust.
const maxLine = 1 << 20

// maxStderr is how much of what a child printed to stderr is kept.
const maxStderr = 4 << 10

// worker is a running child, seen from its parent.
type worker struct {
	user   string
	method runas.Method
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan line // closed when the child's output ends
	stderr *runas.Excerpt
	ended  chan struct{}
}

// proxies are the proxy settings of our environment, which a child that
// downloads needs as well. Control scripts do not get them, and sudo drops
// them: then the proxy belongs into the configuration.
func proxies() (env []string) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// startWorker starts a child as user: this very program, with the argument
// "child".
func startWorker(ctx context.Context, user string) (*worker, error) {
	command := runas.Command{User: user, Args: []string{"child"}, Env: append(faultpoint.Environment(), proxies()...)}
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
	w := &worker{user: user, method: method, cmd: cmd, stdin: stdin, lines: make(chan line), stderr: runas.NewExcerpt(maxStderr), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, w.stderr
	cmd.WaitDelay = time.Second // for a stderr that something else holds open
	err = cmd.Start()
	_ = out.Close()
	if err != nil {
		_ = r.Close()
		return nil, &runas.Error{User: user, Method: method, Why: runas.ExplainStart(method, user, cmd.Path, err), Err: err}
	}
	go w.read(r)
	go func() {
		defer close(w.ended)
		_ = cmd.Wait()
		// Whoever else holds the pipe is not the child.
		_ = r.SetReadDeadline(time.Now().Add(time.Second))
	}()
	return w, nil
}

func (w *worker) read(r *os.File) {
	defer func() { _ = r.Close() }()
	defer close(w.lines)
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxLine)
	for sc.Scan() {
		var l line
		if json.Unmarshal(sc.Bytes(), &l) != nil {
			l.Error = &JobError{Message: fmt.Sprintf("the child printed %.80q", sc.Text())}
		}
		select {
		case w.lines <- l:
		case <-w.ended:
			select { // the last answer of a child that has ended counts
			case w.lines <- l:
			case <-time.After(time.Second):
			}
		}
	}
}

func (w *worker) do(ctx context.Context, job Job, patience time.Duration, progress func(install.Progress)) (Result, error) {
	if err := json.NewEncoder(w.stdin).Encode(job); err != nil {
		return Result{}, w.lost()
	}
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for {
		select {
		case <-silence.C:
			w.close()
			return Result{}, fmt.Errorf("%w: no word for %v while it had to %s", errChildLost, patience, job.Op)
		case l, ok := <-w.lines:
			silence.Reset(patience)
			switch {
			case !ok:
				return Result{}, w.lost()
			case l.Error != nil:
				return Result{}, l.Error
			case l.Result != nil:
				return *l.Result, nil
			case l.Progress != nil && progress != nil:
				progress(*l.Progress)
			}
		case <-ctx.Done():
			w.close()
			return Result{}, ctx.Err()
		}
	}
}

func (w *worker) lost() error {
	w.close()
	select {
	case <-w.ended:
		return fmt.Errorf("%w: %s (%v)", errChildLost, runas.ExplainExit(w.method, w.user, w.stderr.String()), w.cmd.ProcessState)
	default:
		return errChildLost // and it cannot be killed
	}
}

// close ends the child: the end of its input tells it to end what it does. A
// child that does not, and cannot be killed because sudo started it, is left.
func (w *worker) close() {
	_ = w.stdin.Close()
	if w.drained(closePatience) {
		return
	}
	_ = w.cmd.Process.Kill()
	_ = w.drained(closePatience)
}

// drained throws away what the child still says until it has ended.
func (w *worker) drained(patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	lines := w.lines
	for {
		select {
		case <-w.ended:
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
