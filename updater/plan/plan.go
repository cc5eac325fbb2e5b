// Package plan decides what is to be done next about one agent, purely:
// [Next] of a [Situation], [Trial.Judge] of a version on probation, the
// back-off of what failed ([Block]). It asks nobody: what is true on the host
// is an [Observation] that somebody else made, and time is an argument.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// Act is what is to be done about one agent.
type Act string

// The acts. ActNone and ActWait change nothing on the host.
const (
	ActNone       Act = "none"       // as wanted, or nothing may be done
	ActWait       Act = "wait"       // something is wanted, but not before Until
	ActResume     Act = "resume"     // finish or undo an interrupted transaction
	ActInstall    Act = "install"    // the first version
	ActUpgrade    Act = "upgrade"    // to a newer version
	ActDowngrade  Act = "downgrade"  // to an older version
	ActChange     Act = "change"     // to a version that is only different
	ActMove       Act = "move"       // to another workDir
	ActChangeUser Act = "changeUser" // to another runUser in the same workDir
	ActRollback   Act = "rollback"   // to the version an operator went back to
	ActStart      Act = "start"      // the version that is there
	ActStop       Act = "stop"       // what runs
	ActConfig     Act = "config"     // look whether the remote config changed
	ActRestore    Act = "restore"    // what .version named, after it was lost or damaged
)

// Replaces reports whether a stops one version to start another, or the same
// one elsewhere: a transaction.
func (a Act) Replaces() bool {
	switch a {
	case ActInstall, ActUpgrade, ActDowngrade, ActChange, ActMove, ActChangeUser, ActRollback:
		return true
	case ActNone, ActWait, ActResume, ActStart, ActStop, ActConfig:
	}
	return false
}

// Step is what is to be done next about one agent, and why.
type Step struct {
	Agent  string    `json:"agent"`
	Act    Act       `json:"act"`
	From   Target    `json:"from,omitzero"` // what runs now
	To     Target    `json:"to,omitzero"`   // what shall run
	Reason string    `json:"reason"`
	Until  time.Time `json:"until,omitzero"` // of ActWait
	Code   string    `json:"code,omitempty"` // of what keeps the wish from being followed, unless Block says it

	Block *Block `json:"-"` // that ActWait waits for
}

// Place is where an agent lives and as whom it runs.
type Place struct {
	WorkDir string `json:"workDir"`
	RunUser string `json:"runUser"`
}

// Target is one version in one place.
type Target struct {
	Place
	Version string `json:"version"`
}

// Situation is everything a decision about one agent depends on.
type Situation struct {
	Name    string
	Wish    Wish        // what the server wants
	At      Place       // where the agent is, or would be
	Seen    Observation // what disk and control say there
	Blind   string      // why nothing could be seen, or empty
	Code    string      // of Blind
	Left    Place       // where the agent is, when root gives that up because others can change it
	Journal Record
	Hold    *Hold
	Policy  Policy
	Trust   Trust
	Now     time.Time

	ConfigDue bool // the remote config has not been looked at for a while
	Stored    bool // the wish is of a stored reply: the server has not answered since the start

	Withheld string // why nothing may be replaced or stopped now, or empty

	Misnamed string // of the sidecar itself: what .version names instead of what runs, or empty

	Unclean     string // why leftovers cannot be removed, or empty
	UncleanCode string
}

// Next decides the next step for one agent. Nothing else decides.
func Next(s Situation) Step {
	step := s.decideNext()
	if s.Withheld != "" && (step.Act.Replaces() || step.Act == ActStop || step.Act == ActConfig || step.Act == ActRestore) {
		step = nothingToDo(step.Reason + "; " + s.Withheld)
	}
	step.Agent = s.Name
	return step
}

func (s Situation) decideNext() Step {
	switch {
	case s.Seen.OwnedBy != "":
		return nothingToDo("looked after by " + s.Seen.OwnedBy + ", which is running; this one steps back")
	case s.Journal.Txn != nil:
		t := s.Journal.Txn
		return Step{Act: ActResume, From: t.From, To: t.To, Reason: fmt.Sprintf("an interrupted %s stands at %s", t.Act, t.Phase)}
	case s.Wish.Refused != "":
		return nothingToDo("refused: " + s.Wish.Refused)
	case s.Blind != "":
		return nothingToDo("cannot be inspected: " + s.Blind)
	case !s.Wish.Listed && s.Seen.Version == "":
		return nothingToDo("not wanted, and nothing is installed")
	case !s.Wish.Listed:
		return nothingToDo("orphaned: no longer in the list of desired agents; left as it is")
	}
	if why := s.Policy.refuseAgent(s.Name); why != "" {
		return Step{Act: ActNone, Reason: "refused: " + why, Code: CodePolicy}
	}
	switch {
	case s.Wish.Agent.Cmd == meta.CmdNone:
		return nothingToDo("no command: only reported")
	case s.isVersionLost():
		return s.restoreVersion()
	case s.Wish.Agent.Cmd == meta.CmdStop:
		return s.unlessRefused(s.wantStopped())
	}
	// Nothing depends on what .version says of the sidecar itself: it keeps nobody waiting.
	step := s.wantStarted()
	if s.Misnamed != "" && (step.Act == ActNone || step.Act == ActWait) {
		return s.restoreVersion()
	}
	return step
}

// isVersionLost: .version no longer names what is known to be there. Whether that runs, and
// may be stopped or replaced, can only be asked once it does again.
func (s Situation) isVersionLost() bool {
	return !s.isInstalled() && s.Left == (Place{}) && s.At == s.Journal.At && s.Journal.Current != "" && slices.Contains(s.Seen.Versions, s.Journal.Current)
}

func (s Situation) restoreVersion() Step {
	if s.Misnamed != "" {
		return Step{
			Act: ActRestore, To: s.currentTarget(), Code: CodeVersionLost,
			Reason: fmt.Sprintf(".version in %s names %s; %s runs", s.At.WorkDir, s.Misnamed, s.Seen.Version),
		}
	}
	named := cmp.Or(s.Seen.Version, "nothing")
	return Step{
		Act: ActRestore, To: Target{Place: s.At, Version: s.Journal.Current}, Code: CodeVersionLost,
		Reason: fmt.Sprintf(".version in %s names %s; %s is there, and was named before", s.At.WorkDir, named, s.Journal.Current),
	}
}

func nothingToDo(reason string) Step { return Step{Act: ActNone, Reason: reason} }

func (s Situation) wantStopped() Step {
	switch {
	case !s.isInstalled():
		return nothingToDo("stop is wanted, and nothing is installed")
	case s.Seen.Status.Stopped():
		return nothingToDo("stoped, as wanted")
	case s.Hold != nil:
		return nothingToDo("held: " + s.Hold.Reason + "; stop is wanted")
	}
	if s.Stored {
		return nothingToDo("stop was wanted by the last reply; nothing is stopped until the server has answered")
	}
	step := Step{Act: ActStop, From: s.currentTarget(), Reason: "stop is wanted, and it is " + s.Seen.Status.String()}
	return s.unlessBlocked(step, StopKey(s.Seen.Version))
}

func (s Situation) wantStarted() Step {
	if s.Hold != nil {
		return s.planUnderHold()
	}
	want := s.wantedTarget()
	step := Step{From: s.currentTarget(), To: want}
	switch {
	case s.Left != (Place{}):
		step = s.leavePlace()
	case !s.isInstalled() && s.At != want.Place && len(s.Seen.Versions) > 0:
		// .version was lost or damaged where the agent is, and a version may run there: only
		// a replacement in that place ends it. What moves the agent comes after.
		step.Act, step.From, step.To.Place = ActInstall, Target{}, s.At
		step.Reason = fmt.Sprintf(".version in %s names nothing that is there, beside versions that are; %s is wanted", s.At.WorkDir, want.Version)
	case !s.isInstalled() && s.Seen.Version != "":
		step.Act, step.From = ActInstall, Target{}
		step.Reason = fmt.Sprintf("%s is named but not there, %s is wanted", s.Seen.Version, want.Version)
	case !s.isInstalled():
		step.Act, step.From = ActInstall, Target{}
		step.Reason = "nothing is installed, " + want.Version + " is wanted"
	case s.At.WorkDir != want.WorkDir:
		step.Act = ActMove
		step.Reason = fmt.Sprintf("workDir is %s, %s is wanted", s.At.WorkDir, want.WorkDir)
	case s.At.RunUser != want.RunUser:
		step.Act = ActChangeUser
		step.Reason = fmt.Sprintf("runUser is %s, %s is wanted", s.At.RunUser, want.RunUser)
	case s.Seen.Version != want.Version:
		step.Act = actBetween(s.Seen.Version, want.Version)
		step.Reason = fmt.Sprintf("%s is there, %s is wanted", s.Seen.Version, want.Version)
	case s.mustVerifyAgain():
		step.Act, step.From = ActInstall, Target{}
		why, _ := s.Trust.WhyNotExecute(&s.Journal, s.currentTarget())
		step.Reason = fmt.Sprintf("%s is stoped and is verified before it is started: %s", want.Version, why)
	default:
		return s.keepRunning()
	}
	step = s.unlessBlocked(step, s.Journal.ReleaseKey(s.Wish), s.Journal.FetchKey(s.Wish), s.Journal.SignatureKey(s.Wish, s.Trust))
	return s.orKeepRunning(s.unlessRefused(s.unlessUnasked(step)))
}

// mustVerifyAgain: what is wanted is there, does not run, and may not be started as it is.
func (s Situation) mustVerifyAgain() bool {
	why, _ := s.Trust.WhyNotExecute(&s.Journal, s.currentTarget())
	return why != "" && s.Seen.Status.Stopped()
}

// unlessUnasked: an old intention is no new order. Since the last reply was
// stored the server may have changed its mind, or another updater may have had
// the host: what is there is kept running, and no version is changed, until the
// server has answered.
func (s Situation) unlessUnasked(step Step) Step {
	if !s.Stored || !step.Act.Replaces() {
		return step
	}
	if s.isInstalled() && s.Left == (Place{}) && s.Seen.Status.Stopped() {
		return s.startAgain("until the server has answered: ")
	}
	return nothingToDo("by the last reply " + step.Reason + "; no version is changed until the server has answered")
}

// leavePlace gives a place up where others can change what root runs.
func (s Situation) leavePlace() Step {
	step := Step{Act: ActMove, To: s.wantedTarget()}
	if s.Left.WorkDir == step.To.WorkDir {
		step.Act = ActChangeUser
	}
	step.Reason = fmt.Sprintf("others can change %s, where it ran as %s; %s as %s is wanted", s.Left.WorkDir, s.Left.RunUser, step.To.WorkDir, step.To.RunUser)
	return step
}

// planUnderHold: a hold freezes the version; what crashed is still started again. A
// hold that an operator's rollback made also says which version it freezes.
func (s Situation) planUnderHold() Step {
	h := s.Hold
	switch {
	case !s.isInstalled():
		return nothingToDo("held: " + h.Reason + "; nothing is installed")
	case h.Version != "" && h.Version != s.Seen.Version && !slices.Contains(s.Seen.Versions, h.Version):
		return nothingToDo("held: " + h.Reason + "; " + h.Version + " is no longer on disk")
	case h.Version != "" && h.Version != s.Seen.Version:
		to := Target{Place: s.At, Version: h.Version}
		step := Step{Act: ActRollback, From: s.currentTarget(), To: to, Reason: "an operator went back: " + h.Reason}
		if why, code := s.Trust.WhyNotSwitchTo(&s.Journal, to); why != "" && !s.Seen.Status.Stopped() {
			return Step{Act: ActNone, Reason: "held: " + h.Reason + "; nobody goes back: " + why, Code: code}
		} else if why != "" {
			return s.startAgain("held (" + h.Reason + "; nobody goes back: " + why + ") and ")
		}
		return s.orKeepRunning(s.unlessBlocked(step, RollbackKey(h.Version)))
	case s.Seen.Status.Stopped():
		return s.startAgain("held (" + h.Reason + ") and ")
	}
	return nothingToDo("held: " + h.Reason)
}

// keepRunning: the right version is there; it shall also run, with its config
// up to date.
func (s Situation) keepRunning() Step {
	switch {
	case s.Seen.Status.Stopped():
		return s.startAgain("")
	case !s.Seen.Status.Started():
		return nothingToDo("status is " + s.Seen.Status.String() + "; left as it is")
	case s.ConfigDue && !s.Stored && s.mayChangeConfig() && s.Wish.Agent.ConfigFileName != "" && s.Wish.Agent.ConfigRemoteURL != "":
		return Step{Act: ActConfig, From: s.currentTarget(), To: s.currentTarget(), Reason: "time to look whether " + s.Wish.Agent.ConfigFileName + " changed"}
	}
	return nothingToDo("as wanted")
}

// mayChangeConfig: a changed config is a transaction like any other.
func (s Situation) mayChangeConfig() bool {
	return !opensAt(s.Policy.Windows, s.Now).After(s.Now) && s.Policy.refuseSources(s.Wish) == ""
}

// startAgain starts what is there, not too often: a crash loop must not wear out
// the host.
func (s Situation) startAgain(prefix string) Step {
	if why := s.Policy.refuseUser(s.At.RunUser); why != "" {
		return Step{Act: ActNone, To: s.currentTarget(), Reason: "refused: " + why, Code: CodePolicy}
	}
	step := Step{Act: ActStart, To: s.currentTarget(), Reason: prefix + "stoped though start is wanted"}
	if why, code := s.Trust.WhyNotExecute(&s.Journal, step.To); why != "" {
		step.Act, step.Code = ActNone, code
		step.Reason += "; it is not started: " + why
		return step
	}
	if until := s.Journal.Crash.Until; until.After(s.Now) {
		step.Act, step.Until = ActWait, until
		step.Reason = fmt.Sprintf("%sstoped again after %s; the next one waits", prefix, countInWords(s.Journal.Crash.Starts, "start"))
	}
	if detail := s.Seen.Status.Detail; detail != "" {
		step.Reason += ": " + detail
	}
	return step
}

// orKeepRunning: while a replacement waits, or is refused, what is there shall run.
func (s Situation) orKeepRunning(step Step) Step {
	if step.Code == CodePolicy && s.Left == (Place{}) && s.isInstalled() && s.Seen.Status.Stopped() {
		start := s.startAgain("while " + s.wantedTarget().Version + " is refused: ")
		start.Code, start.Reason = CodePolicy, JoinSentences(start.Reason, step.Reason)
		return start
	}
	if step.Act == ActWait && s.Left == (Place{}) && s.isInstalled() && s.Seen.Status.Stopped() {
		start := s.startAgain("while " + s.wantedTarget().Version + " waits: ")
		switch {
		case start.Act == ActStart, start.Act == ActWait && start.Until.Before(step.Until):
			return start
		case IsSignatureCode(start.Code):
			step.Code, step.Reason = start.Code, JoinSentences(step.Reason, start.Reason)
		}
	}
	return step
}

// unlessBlocked turns step into a wait while what it would do is in quarantine
// or backed off.
func (s Situation) unlessBlocked(step Step, keys ...string) Step {
	for _, key := range keys {
		if b, blocked := s.Journal.BlockFor(key, s.Now); blocked {
			step.Act, step.Until, step.Block = ActWait, b.Until, &b
			step.Reason = b.Explain()
			return step
		}
	}
	return step
}

// MayLeave reports whether the agent is wanted as another user or elsewhere, so that it need
// not stay where root does not touch it.
func (s Situation) MayLeave() bool {
	w := s.Wish
	return w.Listed && w.Refused == "" && w.Agent.Cmd == meta.CmdStart && s.Hold == nil && w.Place != s.At
}

// isInstalled: .version names something that is there.
func (s Situation) isInstalled() bool { return s.Seen.Version != "" && s.Seen.Complete }

func (s Situation) currentTarget() Target { return Target{Place: s.At, Version: s.Seen.Version} }

func (s Situation) wantedTarget() Target {
	return Target{Place: s.Wish.Place, Version: s.Wish.Agent.Version}
}

func actBetween(from, to string) Act {
	switch meta.CompareVersions(to, from) {
	case meta.Newer:
		return ActUpgrade
	case meta.Older:
		return ActDowngrade
	case meta.Equal, meta.Different:
	}
	return ActChange
}
