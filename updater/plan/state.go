package plan

import (
	"cmp"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// State is what is known about one agent.
type State struct {
	meta.RealAgent
	Wish   Wish        `json:"wish"`
	Seen   Observation `json:"seen"`
	Step   Step        `json:"step"` // planned last
	Blocks []Block     `json:"blocks,omitempty"`
	Crash  CrashLog    `json:"crash,omitzero"`
	Hold   *Hold       `json:"hold,omitempty"`
	// Verified is the id of the release key that had signed the version that is there.
	Verified string `json:"verified,omitempty"`

	Verifications []Verification `json:"-"` // of the versions on disk

	Done, Total int64 // bytes of the download or unpacking under way
}

// State is what the world is told about a situation and the step planned in it.
func (s Situation) State(step Step) State {
	last, at := s.Journal.Last, s.At
	if s.Left != (Place{}) {
		at = s.Left
	}
	st := State{
		RealAgent: meta.RealAgent{
			Name: s.Name, Version: s.Seen.Version, Status: s.Seen.Status.String(), Timestamp: s.Seen.At.Unix(),
			RunUser: at.RunUser, WorkDir: at.WorkDir,
			Phase: cmp.Or(last.Phase, meta.PhaseIdle), PreviousVersion: s.Journal.Previous,
			Error: last.Error, Reason: last.Code, Since: unixTime(last.Since), Rollout: s.Wish.Agent.Rollout,
			Orphaned: !s.Wish.Listed && s.Seen.Version != "",
		},
		Wish: s.Wish, Seen: s.Seen, Step: step, Blocks: s.Journal.Blocks, Crash: s.Journal.Crash, Hold: s.Hold, Verifications: s.Journal.Verified,
	}
	if s.Wish.Listed {
		st.DesiredVersion = s.Wish.Agent.Version
	}
	if s.Seen.OwnedBy != "" {
		st.stepBack(s)
		return st
	}
	if t := s.Journal.Txn; t != nil {
		st.Phase, st.Since, st.Rollout = t.Phase, unixTime(t.Since), t.Wish.Agent.Rollout
		st.Error, st.Reason = t.Failure, t.Code
		return st
	}
	st.explainStand(s)
	st.explainTrust(s)
	if s.Unclean != "" {
		st.Error, st.Reason = JoinSentences(st.Error, s.Unclean), cmp.Or(st.Reason, s.UncleanCode)
	}
	return st
}

// explainTrust says who vouched for the version that is there, and that nobody did
// where nothing weighs more.
func (st *State) explainTrust(s Situation) {
	if !s.Trust.Verifies() {
		return
	}
	st.Verified = s.Journal.VerificationOf(s.currentTarget()).Key
	if why, code := s.whyUnverified(); why != "" && st.Phase == meta.PhaseIdle && st.Reason == "" && st.Step.Act != ActWait {
		st.Error, st.Reason = JoinSentences(st.Error, why), code
	}
}

// stepBack: another sidecar looks after the agent. Where that has it as we want
// it, there is nothing to say about it; otherwise it is as if held, which
// servers neither count as a failure nor wait for.
func (st *State) stepBack(s Situation) {
	st.Phase, st.Reason, st.Error = meta.PhaseIdle, CodeOwned, s.Seen.OwnedBy+" looks after it; this one steps back until that one has ended"
	if s.Seen.Version != s.Wish.Agent.Version || !s.hasWantedStatus() {
		st.Phase, st.Held, st.HoldReason = meta.PhaseHeld, true, "another sidecar looks after it"
	}
}

// hasWantedStatus: it runs, or does not, as is wanted.
func (s Situation) hasWantedStatus() bool {
	return s.Wish.Agent.Cmd == meta.CmdStop && s.Seen.Status.Stopped() || s.Wish.Agent.Cmd == meta.CmdStart && s.Seen.Status.Started()
}

// explainStand adds what keeps the agent from being as wanted: a refusal, blindness,
// a hold or a block. Phase and error of an outcome that no longer matters are dropped: of
// a transaction when something else is wanted by now, and of a start or stop, which have
// no key, when the agent came to it all the same.
func (st *State) explainStand(s Situation) {
	last := s.Journal.Last
	elsewhere := last.Version != s.Wish.Agent.Version || last.At != (Place{}) && last.At != s.Wish.Place
	over := last.Phase == meta.PhaseFailed && last.Key == "" && s.hasWantedStatus()
	if last.Phase != meta.PhaseIdle && last.Version != "" && (elsewhere || over) && s.Hold == nil {
		st.Phase, st.Error, st.Reason = meta.PhaseIdle, "", ""
	}
	switch {
	case st.Step.Act.Replaces(): // what failed before is being tried again
		st.Phase, st.Error, st.Reason, st.Since = meta.PhaseDownloading, "", "", s.Now.Unix()
	case s.Wish.Refused != "":
		st.Phase, st.Error, st.Reason = meta.PhaseFailed, "refused: "+s.Wish.Refused, CodeRefused
	case s.Blind != "":
		st.Phase, st.Error, st.Reason = meta.PhaseFailed, s.Blind, s.Code
	case s.Hold != nil:
		st.Phase, st.Held, st.HoldReason = meta.PhaseHeld, true, s.Hold.Reason
		if IsSignatureCode(st.Step.Code) {
			st.Error, st.Reason = st.Step.Reason, st.Step.Code
		}
	case st.Step.Code == CodePolicy, IsSignatureCode(st.Step.Code):
		st.Phase, st.Error, st.Reason = meta.PhaseFailed, st.Step.Reason, st.Step.Code
	case st.Step.Code != "":
		st.Error, st.Reason = st.Step.Reason, st.Step.Code
	case st.Step.Block != nil && st.Step.Block.Key == last.Key:
		st.Error = JoinSentences(last.Error, st.Step.Block.inWords())
	case st.Step.Block != nil: // wanted again, and it failed here before
		st.Phase, st.Error, st.Reason, st.Since = meta.PhaseFailed, st.Step.Reason, st.Step.Block.Code, unixTime(st.Step.Block.Since)
	case st.Step.Act == ActWait:
		st.Error = st.Step.Reason
	case st.Error == "" && s.Seen.Status.Code != "": // the host keeps us from asking it
		st.Error, st.Reason = s.Seen.Status.Detail, s.Seen.Status.Code
	}
}

// Matters reports whether the agent is here, is wanted here, or went wrong here. Of others
// only a journal is left.
func (st State) Matters() bool { return st.Version != "" || st.Error != "" || st.DesiredVersion != "" }

func unixTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// JoinSentences puts sentences into one.
func JoinSentences(parts ...string) string {
	var said []string
	for _, p := range parts {
		if p != "" {
			said = append(said, p)
		}
	}
	return strings.Join(said, "; ")
}
