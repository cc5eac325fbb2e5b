package plan

import (
	"cmp"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// SelfName is the name of the agent that is the sidecar itself. It is not run by
// its control script: another version takes over in the process that runs.
const SelfName = "ops-updater"

// Codes of a takeover that failed.
const (
	CodeTakeoverDied    = "takeover-died"    // the new version ended before a heartbeat was answered
	CodeTakeoverUnheard = "takeover-unheard" // no heartbeat of it was answered in time
)

// refuseSelf: what the sidecar cannot be told about itself. Another user would need
// another process; and whoever is stopped cannot be started again by a reply.
func refuseSelf(w Wish, own Place) string {
	a := w.Agent
	switch {
	case w.Place.RunUser != own.RunUser:
		return fmt.Sprintf("%s is the sidecar itself, which runs as %s and not as %s; leave runUser out", SelfName, own.RunUser, w.Place.RunUser)
	case a.Cmd == meta.CmdStop:
		return SelfName + " is the sidecar itself, which is stopped on its host alone"
	case a.ConfigFileName != "" || a.ConfigRemoteURL != "":
		return SelfName + " is the sidecar itself, whose configuration is its host's; leave the remote config out"
	}
	return ""
}

// MaxTakeovers is how often a takeover may be interrupted before its version is
// blamed: it may be what interrupts it.
const MaxTakeovers = 3

// returnMargin is how much later than the watcher a version on trial gives up by
// itself: the watcher may have been killed.
const returnMargin = 15 * time.Second

// Takeover is what is known about a takeover by the sidecar that runs now.
type Takeover struct {
	From, To, Running string // versions

	Known    bool   // the trial is in the sidecar's own state; otherwise it is over, or lost
	Current  string // the version that runs after the next start
	Ending   string // why the trial ended, or empty
	Why      string // of Ending
	Watched  bool   // the watcher lives
	Heard    bool   // a heartbeat of this process was answered
	Waited   time.Duration
	Patience time.Duration // for a heartbeat to be answered
	Resumed  int           // how often takeovers by this release were interrupted, with this one
}

// The endings of a trial, as package takeover notes them.
const (
	endedDied        = "died"
	endedUnheard     = "unheard"
	endedNotExecuted = "notExecuted"
	endedStopped     = "stopped"
)

// Answer is what follows from a [Takeover].
type Answer string

// The answers.
const (
	AnswerWait   Answer = "wait"   // nothing is certain yet
	AnswerCommit Answer = "commit" // the new version has answered for itself
	AnswerReturn Answer = "return" // the new version, which runs, gives up
	AnswerBlame  Answer = "blame"  // the version before it is back, and the new one was at fault
	AnswerExcuse Answer = "excuse" // the version before it is back, and nobody knows of a fault
	AnswerDrop   Answer = "drop"   // another version than either runs
)

// Judgement is an [Answer] and its reason, for people and for programs. A new version
// that waits or is committed has none.
type Judgement struct {
	Answer       Answer
	Reason, Code string
}

// Judge says what follows from t.
func (t Takeover) Judge() Judgement {
	switch t.Running {
	case t.To:
		return t.judgeNew()
	case t.From:
		return t.judgeReturned()
	}
	return Judgement{Answer: AnswerDrop, Reason: fmt.Sprintf("%s runs by now, which is neither of the two", t.Running), Code: CodeStale}
}

func (t Takeover) judgeNew() Judgement {
	switch {
	case !t.Known && t.Current == t.To, t.Heard && t.Ending != endedUnheard && t.Ending != endedStopped:
		return Judgement{Answer: AnswerCommit} // whoever noted another ending was wrong
	case t.Known && t.Waited > t.Patience+returnMargin:
		return Judgement{Answer: AnswerReturn, Reason: fmt.Sprintf("no heartbeat was answered within %s, and the watcher did nothing", t.Waited.Round(time.Second)), Code: CodeTakeoverUnheard}
	}
	return Judgement{Answer: AnswerWait}
}

func (t Takeover) judgeReturned() Judgement {
	switch {
	case !t.Known, t.Ending == "" && !t.Watched:
		return t.interrupted(cmp.Or(t.Why, "the host or the sidecar went down while "+t.To+" took over"))
	case t.Ending == "" && t.Waited <= t.Patience+returnMargin:
		return Judgement{Answer: AnswerWait, Reason: "the watcher has not said yet what became of " + t.To, Code: CodeInterrupted}
	case t.Ending == endedDied:
		return Judgement{Answer: AnswerBlame, Reason: t.Why, Code: CodeTakeoverDied}
	case t.Ending == endedUnheard && t.Heard:
		return Judgement{Answer: AnswerBlame, Reason: fmt.Sprintf("%s, and %s was answered", t.Why, t.From), Code: CodeTakeoverUnheard}
	case t.Ending == endedUnheard && t.Waited <= t.Patience:
		return Judgement{Answer: AnswerWait, Reason: t.Why, Code: CodeTakeoverUnheard}
	case t.Ending == endedUnheard:
		return Judgement{Answer: AnswerExcuse, Reason: fmt.Sprintf("%s, nor one of %s: the server is away", t.Why, t.From), Code: CodeTakeoverUnheard}
	case t.Ending == endedStopped:
		return Judgement{Answer: AnswerExcuse, Reason: "the sidecar was stopped while " + t.To + " took over", Code: CodeInterrupted}
	case t.Ending == endedNotExecuted:
		return Judgement{Answer: AnswerExcuse, Reason: t.Why, Code: CodeInterrupted}
	}
	return t.interrupted(cmp.Or(t.Why, "the takeover was interrupted"))
}

func (t Takeover) interrupted(why string) Judgement {
	if t.Resumed > MaxTakeovers {
		return Judgement{Answer: AnswerBlame, Reason: fmt.Sprintf("interrupted %d times: %s", t.Resumed, why), Code: CodeInterrupted}
	}
	return Judgement{Answer: AnswerExcuse, Reason: why, Code: CodeInterrupted}
}
