package updater

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/host/process"
	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
	"github.com/ops-updater/ops-updater/updater/takeover"
)

// The keeper of the sidecar itself. What is wanted is planned, downloaded and staged
// as for any agent; instead of control scripts, another version takes over in this
// process, and has to have a heartbeat answered instead of a probation.

// selfCare is what the engine needs of the daemon to update the sidecar itself.
type selfCare struct {
	config  string // path of cfg.json
	started time.Time
	end     func(*takeover.Trial) // ends this version's work, for what the trial says to go on
}

// Times of a takeover.
const (
	minTrial     = 3 * time.Second  // however short the probation of agents is
	standBefore  = 10 * time.Minute // agents between two versions are waited for
	takeoverLook = 100 * time.Millisecond
)

func (k *keeper) isSelf() bool { return k.name == plan.SelfName }

// standBook says whether all agents stand still because the sidecar is about to be
// another version.
type standBook struct{ on atomic.Bool }

func (b *standBook) why() string {
	if b.on.Load() {
		return "first another version of ops-updater takes over"
	}
	return ""
}

// observeSelf completes what a decision about the sidecar depends on. What runs is
// this program, wherever it lies.
func (k *keeper) observeSelf(ctx context.Context, s *plan.Situation) {
	if s.Wish.Listed {
		s.At = s.Wish.Place
	}
	s.Journal = k.rec
	s.Seen = plan.Observation{Version: buildinfo.Version(), Complete: true, Status: status.Status{Word: meta.StatusStarted}, Pid: os.Getpid(), At: s.Now}
	if k.e.self == nil && !k.guest {
		s.Withheld = "only a running sidecar updates itself"
	}
	if !takeover.Supported {
		s.Withheld = "on this system it is updated by hand"
	}
	if s.At == (plan.Place{}) || s.Wish.Refused != "" {
		return
	}
	r, err := k.runJob(ctx, s.At.RunUser, k.newJob(job.OpVersions, plan.Target{Place: s.At}), nil)
	if err != nil {
		s.Blind, s.Code = err.Error(), codeOf(err)
		return
	}
	s.Seen.Versions, s.Seen.OwnedBy = r.Seen.Versions, r.Seen.OwnedBy
	if r.Seen.Version != s.Seen.Version && slices.Contains(s.Seen.Versions, s.Seen.Version) {
		s.Misnamed = cmp.Or(r.Seen.Version, "nothing")
	}
	k.rec.KeepVerified(s.At.WorkDir, s.Seen.Versions)
	if state, err := takeover.Load(k.e.currentConfig().VarDir); err == nil && state.Installed.Version != "" {
		s.Seen.Versions = append(s.Seen.Versions, state.Installed.Version)
	}
	if k.rec.Txn == nil {
		k.rec.At = s.At
		k.endStrayTrial()
	}
	s.Journal = k.rec
}

// endStrayTrial forgets a trial whose transaction has ended: this process was killed
// between the two.
func (k *keeper) endStrayTrial() {
	if k.e.self == nil {
		return
	}
	if s, err := takeover.Load(k.e.currentConfig().VarDir); err != nil || s.Trial == nil {
		return // said when it was read before
	}
	if err := k.forgetTrial(); err != nil {
		k.log().Error().Err(err).Msg("a trial that is over cannot be forgotten yet")
	}
}

// programOf is where the program of a version lies.
func (k *keeper) programOf(t plan.Target, s takeover.State) takeover.Program {
	p := takeover.Program{Version: t.Version, Path: filepath.Join(t.WorkDir, k.name, t.Version, plan.SelfName)}
	if _, err := os.Stat(p.Path); err != nil && s.Installed.Version == t.Version {
		p.Path = s.Installed.Path
	}
	return p
}

// takeOver has the version that is there by now take over. It returns an error, as
// this process goes on as that version, or nil when that came to nothing.
func (k *keeper) takeOver(ctx context.Context, t *plan.Txn) error {
	if err := k.mayExecute(t.To); err != nil {
		return k.endAsFailed(ctx, t, err)
	}
	// From here on a failure is one of the release, and not of its source.
	if err := k.enterPhase(t, meta.PhaseStarting); err != nil {
		return k.endAsFailed(ctx, t, err)
	}
	trial, err := k.prepareTrial(ctx, t)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isMachinery(err):
		return err
	case err != nil:
		return k.endAsFailed(ctx, t, err)
	}
	faultpoint.Hit("takeover.checked")
	k.e.standing.on.Store(true)
	err = k.awaitOthers(ctx)
	if err == nil && t.Act != plan.ActRollback && !k.stillWanted(t) {
		k.e.standDown()
		return k.endAsAbandoned(ctx, t, "something else is wanted by now")
	}
	if err == nil {
		err = k.beginTrial(ctx, trial)
	}
	if err != nil {
		k.e.standDown()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return k.endAsFailed(ctx, t, err)
	}
	k.log().Info().Str("from", trial.From.Version).Str("to", trial.To.Version).Msg("another version of the sidecar takes over in this process")
	k.e.self.end(trial)
	<-ctx.Done()
	return ctx.Err()
}

// prepareTrial makes sure that the new version can be run here and passes its own
// check, with the configuration in force.
func (k *keeper) prepareTrial(ctx context.Context, t *plan.Txn) (*takeover.Trial, error) {
	cfg := k.e.currentConfig()
	state, err := takeover.Load(cfg.VarDir)
	if plainfile.IsPassing(err) {
		return nil, machineryError{err}
	}
	if err != nil {
		k.log().Error().Err(err).Msg("it is begun anew")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot tell which program this is: %w", err)
	}
	if _, err := os.Stat(self); err != nil {
		return nil, fmt.Errorf("the program that runs was replaced or removed; restart the sidecar: %w", err)
	}
	patience := cfg.Probation
	if p := t.Wish.Agent.Probation; p > 0 {
		patience = time.Duration(p) * time.Second
	}
	trial := &takeover.Trial{
		From: takeover.Program{Version: buildinfo.Version(), Path: self}, To: k.programOf(t.To, state),
		Process: process.Identify(os.Getpid()), Patience: max(patience, minTrial), Args: os.Args,
	}
	j := k.newJob(job.OpTryProgram, t.To)
	j.Program = &job.Program{Path: trial.To.Path, Version: t.To.Version, Config: k.e.self.config, Timeout: cfg.StartTimeout}
	_, err = k.runJob(ctx, t.To.RunUser, j, nil)
	return trial, err
}

// awaitOthers waits for agents that are between two versions. One that hangs delays
// this, and does not keep it from happening: its transaction is resumed.
func (k *keeper) awaitOthers(ctx context.Context) error {
	deadline := time.Now().Add(standBefore)
	tick := time.NewTicker(takeoverLook)
	defer tick.Stop()
	for time.Now().Before(deadline) && slices.ContainsFunc(k.e.allKeepers(), func(o *keeper) bool { return o != k && o.isBetween() }) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// isBetween: the agent is between two versions. A download goes on where it was.
func (k *keeper) isBetween() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch k.state.Phase {
	case meta.PhaseStopping, meta.PhaseStarting, meta.PhaseProbation, meta.PhaseRollingBack:
		return k.busy
	case meta.PhaseIdle, meta.PhaseDownloading, meta.PhaseStaging, meta.PhaseRolledBack, meta.PhaseFailed, meta.PhaseHeld:
	}
	return false
}

// standDown lets the agents be updated again.
func (e *Engine) standDown() {
	e.standing.on.Store(false)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.replanAll()
}

// beginTrial writes the trial down and has it watched.
func (k *keeper) beginTrial(ctx context.Context, trial *takeover.Trial) error {
	varDir := k.e.currentConfig().VarDir
	trial.Began, trial.Stage = time.Now().Round(0), takeover.StagePrepared
	err := takeover.Update(varDir, func(s *takeover.State) error {
		if !s.Current.Lies(trial.From.Path) { // the first one on this host
			installed, err := takeover.Describe(trial.From.Version, trial.From.Path)
			if err != nil {
				return fmt.Errorf("cannot read the program that runs: %w", err)
			}
			s.Installed, s.Current = installed, installed
		}
		s.Trial = trial
		return nil
	})
	if err != nil {
		return err
	}
	faultpoint.Hit("takeover.prepared")
	if err := takeover.StartWatcher(ctx, varDir); err != nil {
		return errors.Join(err, k.forgetTrial())
	}
	faultpoint.Hit("takeover.watched")
	return nil
}

func (k *keeper) forgetTrial() error {
	return takeover.Update(k.e.currentConfig().VarDir, func(s *takeover.State) error {
		s.Trial = nil
		return nil
	})
}

// resumeTakeover ends a takeover: as the new version, or as the one before it, which
// is back.
func (k *keeper) resumeTakeover(ctx context.Context, t *plan.Txn) error {
	if t.Phase == meta.PhaseDownloading || t.Phase == meta.PhaseStaging {
		return k.endAsAbandoned(ctx, t, "interrupted before anything was stopped")
	}
	if k.e.self == nil {
		return machineryError{errors.New("a takeover by another version is half done; only a running sidecar ends it")}
	}
	tick := time.NewTicker(takeoverLook)
	defer tick.Stop()
	for {
		a, err := k.assessTakeover(t)
		if err != nil {
			return machineryError{err}
		}
		switch v := a.Judge(); v.Answer {
		case plan.AnswerCommit:
			return k.commitTakeover(ctx, t)
		case plan.AnswerReturn:
			return k.giveUpTrial(ctx, v.Reason)
		case plan.AnswerBlame, plan.AnswerExcuse:
			return k.endReturned(ctx, t, v)
		case plan.AnswerDrop:
			return errors.Join(k.dropTransaction(ctx, t, v.Reason), k.forgetTrial())
		case plan.AnswerWait:
			k.showTrial(t, v)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// assessTakeover gathers what the judgement depends on. An error passes: what cannot be
// seen now is not taken for lost.
func (k *keeper) assessTakeover(t *plan.Txn) (plan.Takeover, error) {
	varDir := k.e.currentConfig().VarDir
	a := plan.Takeover{
		From: t.From.Version, To: t.To.Version, Running: buildinfo.Version(),
		Heard: k.e.asked.Load(), Waited: time.Since(k.e.self.started), Resumed: 1,
	}
	for _, b := range k.rec.Blocks {
		if b.Key == t.Key && b.Code == plan.CodeInterrupted {
			a.Resumed += b.Failures
		}
	}
	s, err := takeover.Load(varDir)
	if plainfile.IsPassing(err) {
		return a, err
	}
	if err != nil {
		return a, nil //nolint:nilerr // it is lost; said when it was read before
	}
	a.Current = s.Current.Version
	if s.Trial != nil && s.Trial.To.Version == t.To.Version && s.Trial.From.Version == t.From.Version {
		a.Known, a.Ending, a.Why, a.Patience = true, string(s.Trial.Ending), s.Trial.Why, s.Trial.Patience
	}
	a.Watched = takeover.WatcherLives(varDir)
	return a, nil
}

// showTrial tells which of both versions has to be answered, and why it is the one
// before.
func (k *keeper) showTrial(t *plan.Txn, v plan.Judgement) {
	phase := meta.PhaseProbation
	if buildinfo.Version() == t.From.Version {
		phase = meta.PhaseRollingBack
	}
	if t.Phase != phase || t.Failure != v.Reason {
		t.Failure, t.Code = v.Reason, v.Code
		k.mustEnterPhase(t, phase)
		k.updateState(func(s *plan.State) { s.Version, s.Status = buildinfo.Version(), meta.StatusStarted })
	}
}

// commitTakeover makes the version that runs the one that runs after every start.
func (k *keeper) commitTakeover(ctx context.Context, t *plan.Txn) error {
	faultpoint.Hit("takeover.heard")
	over := errors.New("the watcher has ended the trial")
	err := takeover.Update(k.e.currentConfig().VarDir, func(s *takeover.State) error {
		if s.Trial == nil {
			return nil
		}
		if e := s.Trial.Ending; e == takeover.EndingUnheard || e == takeover.EndingStopped {
			return over
		}
		s.Current, s.Trial = s.Trial.To, nil
		return nil
	})
	if errors.Is(err, over) {
		<-ctx.Done()
		return ctx.Err()
	}
	if err != nil {
		return machineryError{err}
	}
	faultpoint.Hit("takeover.committed")
	// For people, and for pruning: what counts is the state of the takeover.
	if _, err := k.runJob(ctx, t.To.RunUser, k.newJob(job.OpActivate, t.To), nil); err != nil && codeOf(err) != job.CodeIncomplete {
		k.log().Warn().Err(err).Msg("cannot make .version name it")
	}
	k.rec.Unproven = ""
	return k.commitTransaction(ctx, t, "a heartbeat was answered")
}

// giveUpTrial ends a trial from inside.
func (k *keeper) giveUpTrial(ctx context.Context, why string) error {
	s, err := takeover.Load(k.e.currentConfig().VarDir)
	if err == nil && s.Trial == nil {
		return nil
	}
	if err == nil {
		_, err = takeover.End(k.e.currentConfig().VarDir, s.Trial, takeover.EndingUnheard, why)
	}
	if err != nil {
		return machineryError{err}
	}
	k.log().Error().Msg(why)
	k.e.self.end(s.Trial)
	<-ctx.Done()
	return ctx.Err()
}

// endReturned ends a transaction whose new version is gone, and this one is back.
func (k *keeper) endReturned(ctx context.Context, t *plan.Txn, v plan.Judgement) error {
	now := time.Now()
	o := plan.Outcome{Phase: meta.PhaseRolledBack, Key: t.Key, Code: v.Code, Error: fmt.Sprintf("%s is back: %s", t.From.Version, v.Reason)}
	if v.Answer == plan.AnswerExcuse {
		o.Phase = meta.PhaseIdle
	}
	b := k.rec.AddFailure(plan.Fault{Key: t.Key, Version: t.To.Version, Reason: v.Reason, Code: v.Code, Release: v.Answer == plan.AnswerBlame}, now)
	k.log().Error().Str("failed", t.To.Version).Str("back", t.From.Version).Time("notBefore", b.Until).Msg("the takeover failed: " + v.Reason)
	k.tell(v.Reason, v.Code)
	k.endTransaction(ctx, t, o)
	faultpoint.Hit("takeover.judged")
	return k.forgetTrial()
}
