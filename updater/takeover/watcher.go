package takeover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/filelock"
	"github.com/ops-updater/ops-updater/internal/host/process"
)

// Times of the watcher.
const (
	lookEvery     = 100 * time.Millisecond
	readyPatience = 15 * time.Second // until a watcher is at work
	endPatience   = 20 * time.Second // of a version that was told to end: it may be between the stop and the start of an agent
	backPatience  = 30 * time.Second // until the version before it has the lock
	aloneAfter    = time.Second      // nobody restarts a sidecar that ./control started
	restartWithin = 20 * time.Second // somebody who supervises it does
	sureAfter     = 3 * time.Second  // a process that is not seen has ended, where it has no descriptor
	maxRestarts   = 5
)

// watcherStage tells the two processes of which a watcher is made apart: the first
// one only starts the second, which so has no parent.
const watcherStage = "OPS_UPDATER_WATCHER"

// StartWatcher starts the watcher of the trial in the state of varDir, and returns
// once it is at work. It is this very program, in a session of its own.
func StartWatcher(ctx context.Context, varDir string) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, ownProgram, "watch", varDir)
	cmd.Env = os.Environ()
	if os.Getppid() != 1 { // nobody adopts what ./control starts but the first process
		cmd.Env = append(cmd.Env, supervisedMark+"=1")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot start the watcher: %w", err)
	}
	return nil
}

// WatcherLives reports whether a watcher is at work in varDir.
func WatcherLives(varDir string) bool { return isHeld(filepath.Join(varDir, watchLock)) }

// isHeld reports whether somebody holds the lock at path.
func isHeld(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Watch is the watcher of the trial in the state of varDir: it returns when the new
// version has answered for itself, when somebody stopped the sidecar, or when the
// version before it runs again. lock is the lock of a sidecar in varDir.
func Watch(varDir, lock string, log zerolog.Logger) error {
	if os.Getenv(watcherStage) == "" {
		return startSecond(varDir)
	}
	_ = os.Unsetenv(watcherStage)
	ready := os.NewFile(3, "ready")
	unix.CloseOnExec(3)
	s, err := Load(varDir)
	if err != nil {
		return err
	}
	if s.Trial == nil {
		return errors.New("cannot watch: no version is on trial")
	}
	held, err := filelock.Take(context.Background(), filelock.Request{Path: filepath.Join(varDir, watchLock), Create: true, Patience: lockPatience})
	if err != nil {
		return fmt.Errorf("cannot watch: %w", err)
	}
	defer held.Release()
	w := watcher{varDir: varDir, lock: lock, trial: s.Trial, process: follow(s.Trial.Process), log: log}
	if _, err := ready.WriteString("."); err != nil {
		return fmt.Errorf("cannot watch: %w", err)
	}
	_ = ready.Close()
	faultpoint.Hit("watcher.ready")
	w.watch()
	return nil
}

// startSecond starts the watcher and ends, so that it is nobody's child.
func startSecond(varDir string) error {
	r, ready, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot start the watcher: %w", err)
	}
	cmd := exec.Command(ownProgram, "watch", varDir) //nolint:noctx // it outlives us
	cmd.Env = append(os.Environ(), watcherStage+"=2")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{ready}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start the watcher: %w", err)
	}
	_ = ready.Close()
	_ = r.SetReadDeadline(time.Now().Add(readyPatience))
	if n, err := r.Read(make([]byte, 1)); n != 1 {
		return fmt.Errorf("cannot start the watcher: it is not ready: %w", err)
	}
	return nil
}

type watcher struct {
	varDir, lock string
	trial        *Trial
	process      watched
	log          zerolog.Logger
}

// watch looks until the trial is over, one way or the other.
func (w watcher) watch() {
	var deadline time.Time // begins when the process is the new version
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ; ; <-tick.C {
		s, err := Load(w.varDir)
		switch {
		case err == nil && !s.Trial.Is(w.trial), err == nil && s.Trial.Ending == EndingStopped:
			return
		case err == nil && s.Trial.Ending == EndingNotExecuted:
			w.bringBack()
			return
		case w.process.hasEnded():
			w.processEnded()
			return
		case err == nil && s.Trial.Stage == StageExecuting && deadline.IsZero():
			deadline = time.Now().Add(w.trial.Patience)
		case !deadline.IsZero() && time.Now().After(deadline):
			w.note(EndingUnheard, fmt.Sprintf("no heartbeat was answered within %s", w.trial.Patience))
			w.returnProcess()
			w.bringBack()
			return
		}
	}
}

func (w watcher) note(ending Ending, why string) {
	faultpoint.Hit("watcher.ending")
	if _, err := End(w.varDir, w.trial, ending, why); err != nil {
		w.log.Error().Err(err).Msg("the watcher goes on without")
	}
	w.log.Error().Str("from", w.trial.From.Version).Str("to", w.trial.To.Version).Str("ending", string(ending)).Msg("the takeover failed: " + why)
	faultpoint.Hit("watcher.ended")
}

func (w watcher) processEnded() {
	s, err := Load(w.varDir) // it may have written something since
	if err == nil && (!s.Trial.Is(w.trial) || s.Trial.Ending == EndingStopped) {
		return
	}
	if s.Trial.Is(w.trial) && s.Trial.Stage == StagePrepared {
		w.note(EndingInterrupted, "the sidecar ended before anything was replaced")
	} else {
		w.note(EndingDied, fmt.Sprintf("it ended %s after it took over, before a heartbeat was answered", time.Since(w.trial.Began).Round(100*time.Millisecond)))
	}
	w.bringBack()
}

// returnProcess tells the process to be the version before it again, and ends it
// when it does not.
func (w watcher) returnProcess() {
	pid := w.trial.Process.Pid
	w.process.signal(syscall.SIGTERM)
	returned := func() bool { return w.process.hasEnded() || runsIn(pid, ownProgram) }
	if !process.PollUntil(endPatience, returned) {
		w.log.Error().Int("pid", pid).Msg("the watcher kills the new version, which does not end")
		w.process.signal(syscall.SIGKILL)
		process.PollUntil(endPatience, returned)
	}
}

// bringBack has the version before run again. Whoever supervises the sidecar starts
// it by what is installed; where nobody does, the watcher starts it.
func (w watcher) bringBack() {
	lives := func() bool { return isHeld(w.lock) }
	for try := range maxRestarts {
		wait := aloneAfter
		if try == 0 && isSupervised() {
			wait = restartWithin
		}
		if process.PollUntil(wait, lives) {
			return
		}
		if s, err := Load(w.varDir); err == nil && s.Trial.Is(w.trial) && s.Trial.Ending == EndingStopped {
			return
		}
		cmd := exec.Command(w.trial.From.Path, w.trial.Args[1:]...) //nolint:noctx // it outlives us
		if !runsIn(os.Getpid(), w.trial.From.Path) {
			cmd.Path = ownProgram
		}
		cmd.Args = w.trial.Args
		cmd.Env = append(os.Environ(), AsItself)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			w.log.Error().Err(err).Msg("the watcher cannot start the version before")
			continue
		}
		w.log.Warn().Str("version", w.trial.From.Version).Int("pid", cmd.Process.Pid).Msg("the watcher started the version before")
		go func() { _ = cmd.Wait() }() // else it would stay as a zombie that seems to run
		if process.PollUntil(backPatience, lives) {
			return
		}
	}
}

// isSupervised: somebody starts the sidecar again when it ends. A watcher has the
// environment of the process that it watches.
func isSupervised() bool {
	return os.Getenv("INVOCATION_ID") != "" || os.Getenv(supervisedMark) != ""
}

// supervisedMark is set for the watcher of a process whose parent is a supervisor.
const supervisedMark = "OPS_UPDATER_SUPERVISED"
