package updater

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/host/process"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/updater/takeover"
)

// handover is how the daemon's process goes on as another version of it.
type handover struct {
	varDir string
	log    zerolog.Logger
	handed takeover.Handed // to whoever comes next
	next   *takeover.Trial // asked for by the keeper of the sidecar itself
}

// settleState makes this program the current one where somebody started it instead
// of the one that was: it was installed by hand, or the other cannot be run.
func settleState(varDir string, log zerolog.Logger) {
	self, err := os.Executable()
	if err != nil || !takeover.Supported {
		return
	}
	err = takeover.Update(varDir, func(s *takeover.State) error {
		if s.Trial != nil && (s.Trial.To.Lies(self) && s.Trial.Process == process.Identify(os.Getpid()) || s.Trial.From.Lies(self)) {
			return errNothing
		}
		if s.Current.Version == "" || s.Current.Lies(self) && s.Current.Version == buildinfo.Version() {
			return errNothing
		}
		installed, err := takeover.Describe(buildinfo.Version(), self)
		if err != nil {
			return err
		}
		log.Warn().Str("was", s.Current.Version).Str("is", installed.Version).Msg("this program was started instead of the version that was current, and is current from now on")
		*s = takeover.State{Installed: installed, Current: installed}
		return nil
	})
	if err != nil && err != errNothing { //nolint:errorlint // ours, and never wrapped
		log.Warn().Err(err).Msg("until it can be written, the sidecar does not update itself")
	}
}

var errNothing = fmt.Errorf("nothing is to be changed")

// staysOn reports whether this process is about to be another version: then its
// sockets stay where they are.
func (h *handover) staysOn() bool {
	if h.next != nil {
		return true
	}
	s, err := takeover.Load(h.varDir)
	return err == nil && h.isReturning(s.Trial)
}

// isReturning: this is the version on trial, and the one before it has to come back.
func (h *handover) isReturning(t *takeover.Trial) bool {
	return t != nil && t.Ending == takeover.EndingUnheard && t.To.Version == buildinfo.Version() && t.Process == process.Identify(os.Getpid())
}

// goOn has the process go on as whatever is to run now that the daemon has ended. It
// returns when the process is to end. stop is over when somebody wants that.
func (h *handover) goOn(stop context.Context) error {
	s, err := takeover.Load(h.varDir)
	if err != nil || s.Trial == nil || s.Trial.Process != process.Identify(os.Getpid()) {
		return nil //nolint:nilerr // said when it was read before
	}
	t := s.Trial
	switch {
	case h.isReturning(t):
		faultpoint.Hit("takeover.returning")
		return takeover.Become(t.From.Path, h.handed)
	case t.Ending != "":
		return nil
	case h.next.Is(t) && t.Stage == takeover.StagePrepared && stop.Err() == nil:
		return h.become(t)
	}
	_, err = takeover.End(h.varDir, t, takeover.EndingStopped, "")
	return err
}

// become goes on as the new version; where that cannot be, as this one.
func (h *handover) become(t *takeover.Trial) error {
	err := takeover.Update(h.varDir, func(s *takeover.State) error {
		if !s.Trial.Is(t) {
			return errNothing
		}
		s.Trial.Stage = takeover.StageExecuting
		return nil
	})
	faultpoint.Hit("takeover.executing")
	if err == nil {
		err = takeover.Become(t.To.Path, h.handed)
	}
	h.log.Error().Err(err).Msg("the takeover failed")
	if _, noted := takeover.End(h.varDir, t, takeover.EndingNotExecuted, err.Error()); noted != nil {
		h.log.Error().Err(noted).Msg("going on without")
	}
	return takeover.Become(t.From.Path, h.handed)
}

// Watch is the watcher of a takeover in varDir; see [takeover.Watch].
func Watch(varDir string) error {
	out := io.Writer(os.Stderr)
	if f, err := plainfile.Append(filepath.Join(varDir, LogName)); err == nil {
		defer func() { _ = f.Close() }()
		out = f
	}
	log := zerolog.New(out).With().Timestamp().Str("process", "watcher").Logger()
	return takeover.Watch(varDir, filepath.Join(varDir, lockName), log)
}
