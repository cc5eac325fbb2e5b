// Package runas starts a command as another user and explains in one sentence
// what to mend when that fails.
//
// There are three ways, chosen by who we are and who is wanted:
//
//   - own user: the command is started plainly;
//   - we are root: setuid to the user, with the user's real primary and
//     supplementary groups;
//   - otherwise: sudo -n -u USER.
//
// In each the command gets a clean environment, a process group of its own and
// pipes; its standard error is kept, bounded, for the explanation.
//
// The command must watch its standard input: end-of-file there means that the
// parent is gone or wants it to stop. That works across setuid and sudo and for
// a parent that was killed. The kernel's parent-death signal is not used: sudo
// loses it, it is tied to one thread of the parent, and it would kill without
// letting the command end what it started itself.
package runas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/internal/username"
)

// DefaultPath is the PATH of commands started here.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Grace is how long a command may go on after its standard input was closed
// because it shall stop; then its process group is killed.
const Grace = 5 * time.Second

// pipeDelay is how long we go on reading the output of a command that has
// ended, when a descendant still holds its pipes.
const pipeDelay = 2 * time.Second

// Method is how another user is become.
type Method string

// The methods.
const (
	Plain  Method = "plain"  // it is the own user
	Setuid Method = "setuid" // we are root
	Sudo   Method = "sudo"   // sudo -n -u
)

// MethodFor decides how uid self becomes uid target.
func MethodFor(self, target int) Method {
	switch self {
	case target:
		return Plain
	case 0:
		return Setuid
	default:
		return Sudo
	}
}

// Command says what to start and as whom.
type Command struct {
	User string   // empty: the own user
	Path string   // absolute; empty: this very program, even if its file was replaced or the user cannot reach it
	Args []string // without the program's name
	Env  []string // NAME=value, after HOME, USER, LOGNAME, PATH and LANG; sudo drops most of it
}

func (c Command) validate() error {
	if c.User != "" && !username.Valid(c.User) {
		return fmt.Errorf("cannot run as %q: not a user name", c.User)
	}
	if c.Path != "" && c.Path[0] != '/' {
		return fmt.Errorf("cannot run %q: its path must be absolute", c.Path)
	}
	return nil
}

// Process is a started command. Call Wait, always, after reading from Stdout
// what is expected.
type Process struct {
	Stdin  io.WriteCloser // closing it tells the command to stop
	Stdout io.Reader      // ends, at the latest, shortly after the command has
	Method Method

	user   string
	cmd    *exec.Cmd
	stdout *os.File
	stderr *Excerpt
	ended  chan struct{} // closed when the process was waited for
	done   chan struct{} // closed when nobody looks after it any more
	err    error         // the outcome, once done is closed
}

// Start starts c. When ctx ends the command's standard input is closed, and
// after [Grace] its process group is killed; a command under sudo, which we may
// not kill, is then given up.
func Start(ctx context.Context, c Command) (*Process, error) {
	cmd, id, method, err := prepareCommand(ctx, c)
	if err != nil {
		return nil, err
	}
	p := &Process{Method: method, user: id.Name, cmd: cmd, stderr: NewExcerpt(stderrLimit), ended: make(chan struct{}), done: make(chan struct{})}
	if err := p.start(); err != nil {
		return nil, &Error{User: id.Name, Method: method, Why: ExplainStart(method, id.Name, cmd.Path, err), Err: err}
	}
	go p.lookAtProgram(ctx)
	return p, nil
}

func (p *Process) start() (err error) {
	var theirs *os.File
	if p.stdout, theirs, err = os.Pipe(); err != nil {
		return err
	}
	p.Stdout = p.stdout
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = theirs, p.stderr, pipeDelay
	if p.Stdin, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	_ = theirs.Close()
	if err != nil {
		_ = p.stdout.Close()
	}
	return err
}

// lookAtProgram waits for the command and stops it when ctx ends.
func (p *Process) lookAtProgram(ctx context.Context) {
	defer close(p.done)
	var waited error
	go func() {
		defer close(p.ended)
		waited = p.cmd.Wait()
	}()
	select {
	case <-p.ended:
	case <-ctx.Done():
		if !p.stop() {
			p.err = &Error{User: p.user, Method: p.Method, Why: "it does not end although its input was closed", Err: context.Cause(ctx)}
			_ = p.stdout.SetReadDeadline(time.Now())
			return
		}
	}
	_ = p.stdout.SetReadDeadline(time.Now().Add(pipeDelay)) // a descendant may hold the other end
	if waited != nil && !errors.Is(waited, exec.ErrWaitDelay) {
		p.err = &Error{User: p.user, Method: p.Method, Why: ExplainExit(p.Method, p.user, p.Stderr()), Err: waited}
	}
}

// Wait waits for the command to end and says why it failed, if it did. Stdout
// is closed then.
func (p *Process) Wait() error {
	<-p.done
	_ = p.stdout.Close()
	return p.err
}

// stop asks, then kills, and reports whether the command has ended.
func (p *Process) stop() bool {
	_ = p.Stdin.Close()
	if p.endsWithin(Grace) {
		return true
	}
	_ = p.Kill()
	return p.endsWithin(Grace)
}

func (p *Process) endsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
		return false
	}
}

// Kill kills the command's process group at once. A command under sudo belongs
// to another user and is not ours to kill.
func (p *Process) Kill() error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// Pid is the process's, or that of the sudo in front of it.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stderr is the last part of what the command wrote to its standard error; it
// is complete after Wait.
func (p *Process) Stderr() string { return p.stderr.String() }

// Prepare makes the command that [Start] would start, for callers who start and
// wait for it themselves. Nothing is connected yet; [ExplainStart] and
// [ExplainExit] tell what its failure means.
func Prepare(ctx context.Context, c Command) (*exec.Cmd, Method, error) {
	cmd, _, method, err := prepareCommand(ctx, c)
	return cmd, method, err
}

func prepareCommand(ctx context.Context, c Command) (*exec.Cmd, Identity, Method, error) {
	if err := c.validate(); err != nil {
		return nil, Identity{}, "", err
	}
	id, err := Lookup(ctx, c.User)
	if err != nil {
		return nil, Identity{}, "", err
	}
	method := MethodFor(os.Geteuid(), id.UID)
	cmd, err := buildCommand(c, id, method)
	return cmd, id, method, err
}

func buildCommand(c Command, id Identity, method Method) (*exec.Cmd, error) {
	path, err := programPath(c.Path, method)
	if err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: append([]string{programName(c.Path)}, c.Args...), Env: append(id.Env(), c.Env...), Dir: "/"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	switch method {
	case Plain:
	case Setuid:
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(id.UID), Gid: uint32(id.GID), Groups: id.Groups}
	case Sudo:
		sudo, err := exec.LookPath("sudo")
		if err != nil {
			return nil, &Error{User: id.Name, Method: Sudo, Why: fmt.Sprintf("sudo is not installed: install it, or run ops-updater as root or as %s", id.Name), Err: err}
		}
		cmd.Path = sudo
		cmd.Args = slices.Concat([]string{"sudo", "-n", "-H", "-u", id.Name, "--", path}, c.Args)
		cmd.Env = append(cmd.Env, "LC_ALL=C") // so that its complaints can be recognised
	}
	return cmd, nil
}
