package schedule

import (
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

// Reason says what an agent of a schedule waits for, in words that machines may
// compare.
type Reason string

// What an agent waits for.
const (
	ReasonNoChannel     Reason = "no-channel"     // the agent has no such channel, or it points at nothing
	ReasonUpToDate      Reason = "up-to-date"     // the scope is assigned what the channel points at
	ReasonUnderWay      Reason = "under-way"      // its rollout goes on
	ReasonHalted        Reason = "halted"         // its rollout waits for a person
	ReasonFinishing     Reason = "finishing"      // a rollout of another version ends first
	ReasonGoingBack     Reason = "going-back"     // hosts are taken back from a bad release first
	ReasonPaused        Reason = "paused"         // somebody has paused the schedule
	ReasonStandstill    Reason = "standstill"     // the server's database went back
	ReasonTakenBack     Reason = "taken-back"     // the release was taken back as bad
	ReasonTaken         Reason = "taken"          // it had its turn, and another version was put in its place
	ReasonStopped       Reason = "stopped"        // the scope is told to stop the agent
	ReasonNoArtifact    Reason = "no-artifact"    // nobody can have the release yet
	ReasonUndeliverable Reason = "undeliverable"  // no host of the scope can have it
	ReasonOutsideWindow Reason = "outside-window" // of the first wave
	ReasonBegins        Reason = "begins"         // nothing is in the way
)

// Act is what is to be done now.
type Act string

// The acts. ActTake notes that there is nothing to begin: the version runs, or is on
// its way, by somebody else's hand.
const (
	ActNone  Act = ""
	ActTake  Act = "take"
	ActBegin Act = "begin"
)

// Situation is everything that decides about one agent of a schedule.
type Situation struct {
	Schedule api.Schedule
	Agent    string
	Strategy api.Strategy   // by which it goes out
	Channel  api.Channel    // the agent's; without a Version: there is nothing to follow
	Assigned api.Assignment // of the scope; zero: there is none
	Taken    api.Take       // zero: nothing yet
	Latest   api.Rollout    // of the agent to the scope; zero: there was none
	// Of are the rollouts of the channel's version, the newest first.
	Of         []api.Rollout
	Published  bool   // the release has an artifact
	Refusal    string // why no host of the scope can have the release; empty: some can
	Standstill *api.Standstill
}

// Decision is what is next about an agent, and why.
type Decision struct {
	Act     Act
	Reason  Reason
	Message string
	Rollout string     // that it is about
	Until   *time.Time // when the window opens that is waited for
}

// Decide says what is next.
func Decide(s Situation, now time.Time) Decision {
	for _, look := range []func(Situation, time.Time) (Decision, bool){
		nothingToFollow, rolloutUnderWay, alreadyThere, heldUp, hadItsTurn, notPossible, outsideWindow,
	} {
		if d, settled := look(s, now); settled {
			return d
		}
	}
	d := Decision{Act: ActBegin, Reason: ReasonBegins, Message: fmt.Sprintf("a rollout of %s %s begins", s.Agent, s.Channel.Version)}
	if underWay(s.Latest) {
		d.Message += fmt.Sprintf(", and takes the place of rollout %s of %s, which is %s (%s)", s.Latest.ID, s.Latest.Version, s.Latest.State, s.Latest.Reason)
	}
	return d
}

func nothingToFollow(s Situation, _ time.Time) (Decision, bool) {
	switch {
	case s.Channel.Name == "":
		return Decision{Reason: ReasonNoChannel, Message: fmt.Sprintf("%s has no channel %s", s.Agent, s.Schedule.Channel)}, true
	case s.Channel.Version == "":
		return Decision{Reason: ReasonNoChannel, Message: fmt.Sprintf("channel %s of %s points at no version yet", s.Schedule.Channel, s.Agent)}, true
	}
	return Decision{}, false
}

func underWay(r api.Rollout) bool { return r.ID != "" && !rollout.Ended(r.State) }

// rolloutUnderWay: one rollout at a time. A newer release waits until the one under
// way has ended: else a channel that moves often would never reach the last
// wave. Only what the schedule itself began and what failures have halted makes way,
// since the newer release is what is waited for then.
func rolloutUnderWay(s Situation, now time.Time) (Decision, bool) {
	r := s.Latest
	switch {
	case !underWay(r):
		return Decision{}, false
	case r.RollbackOf != "":
		return Decision{Reason: ReasonGoingBack, Rollout: r.ID, Message: fmt.Sprintf("rollout %s takes hosts back to %s; it is waited for", r.ID, r.Version)}, true
	case r.Version == s.Channel.Version:
		d := sayUnderWay(r, now)
		d.Act = s.take()
		return d, true
	case r.Schedule == s.Schedule.Name && haltedByFailures(r):
		return Decision{}, false
	}
	d := sayUnderWay(r, now)
	d.Reason, d.Message = ReasonFinishing, d.Message+"; it ends before "+s.Channel.Version+" begins"
	return d, true
}

// haltedByFailures reports whether a rollout waits because of what happened on hosts, and
// not because a person or a standstill wants it so.
func haltedByFailures(r api.Rollout) bool {
	return r.State == api.RolloutInconclusive || r.State == api.RolloutPaused && r.Reason != api.ReasonPaused && r.Reason != api.ReasonStandstill
}

func sayUnderWay(r api.Rollout, now time.Time) Decision {
	d := Decision{Reason: ReasonUnderWay, Rollout: r.ID}
	stage := fmt.Sprintf("stage %s, %d of %d", r.Strategy.StageName(r.Stage), r.Stage+1, len(r.Strategy.Stages))
	if r.State != api.RolloutRunning {
		d.Reason = ReasonHalted
		d.Message = fmt.Sprintf("rollout %s of %s is %s (%s) in %s, and waits for a person", r.ID, r.Version, r.State, r.Reason, stage)
		return d
	}
	d.Message = fmt.Sprintf("rollout %s of %s is under way, in %s", r.ID, r.Version, stage)
	w := r.Strategy.StageWindow(r.Stage)
	if r.SettledAt == nil && !rollout.Open(w, now) {
		message, until := waitsForWindow(w, now)
		d.Message, d.Until = d.Message+", and "+message, until
	}
	return d
}

func alreadyThere(s Situation, _ time.Time) (Decision, bool) {
	if s.Assigned.Version != s.Channel.Version {
		return Decision{}, false
	}
	return Decision{Act: s.take(), Reason: ReasonUpToDate, Message: fmt.Sprintf("%s is assigned %s", s.Schedule.Scope.InWords(), s.Channel.Version)}, true
}

// take is the act that notes what needs no rollout of ours.
func (s Situation) take() Act {
	if s.TookUp() {
		return ActNone
	}
	return ActTake
}

// TookUp reports whether the schedule had the version since the channel came to
// point at it.
func (s Situation) TookUp() bool {
	return s.Taken.Version == s.Channel.Version && s.Taken.Moved == s.Channel.Revision
}

func heldUp(s Situation, _ time.Time) (Decision, bool) {
	switch {
	case s.Standstill != nil:
		return Decision{Reason: ReasonStandstill, Message: "the fleet stands still: ops-meta standstill"}, true
	case s.Schedule.Paused:
		return Decision{Reason: ReasonPaused, Message: "the schedule is paused: ops-meta schedule resume " + s.Schedule.Name}, true
	}
	return Decision{}, false
}

func hadItsTurn(s Situation, _ time.Time) (Decision, bool) {
	again := fmt.Sprintf("; it waits for a newer release, or for ops-meta deploy %s %s", s.Agent, s.Channel.Version)
	if bad, is := rollout.TakenBack(s.Of); is {
		return Decision{
			Reason: ReasonTakenBack, Rollout: bad.ID,
			Message: fmt.Sprintf("%s was taken back as bad on %s (rollout %s, %s)", s.Channel.Version, bad.UpdatedAt.UTC().Format("2006-01-02 15:04 UTC"), bad.ID, bad.Reason) + again,
		}, true
	}
	if !s.TookUp() {
		return Decision{}, false
	}
	d := Decision{Reason: ReasonTaken, Rollout: s.Taken.Rollout, Message: s.Channel.Version + " had its turn"}
	if s.Taken.Rollout == "" { // it ran then, or the channel pointed at it before the database went back
		d.Message = s.Channel.Version + " was left as it was"
	}
	d.Message += " on " + s.Taken.Time.UTC().Format("2006-01-02 15:04 UTC")
	if len(s.Of) > 0 && s.Of[0].State == api.RolloutAborted {
		d.Message += fmt.Sprintf(", and rollout %s was aborted (%s)", s.Of[0].ID, s.Of[0].Reason)
	}
	if s.Assigned.Version != "" {
		d.Message += fmt.Sprintf("; %s is assigned %s", s.Schedule.Scope.InWords(), s.Assigned.Version)
	}
	d.Message += again
	return d, true
}

func notPossible(s Situation, _ time.Time) (Decision, bool) {
	switch {
	case s.Assigned.Cmd == meta.CmdStop:
		return Decision{Reason: ReasonStopped, Message: fmt.Sprintf("%s is told to stop %s", s.Schedule.Scope.InWords(), s.Agent)}, true
	case !s.Published:
		return Decision{Reason: ReasonNoArtifact, Message: fmt.Sprintf("release %s %s has no artifact yet", s.Agent, s.Channel.Version)}, true
	case s.Refusal != "":
		return Decision{Reason: ReasonUndeliverable, Message: s.Refusal}, true
	}
	return Decision{}, false
}

// outsideWindow: a version is chosen when its first wave may begin, and not before. What
// the channel is moved on from meanwhile never goes out.
func outsideWindow(s Situation, now time.Time) (Decision, bool) {
	w := s.Strategy.StageWindow(0)
	if rollout.Open(w, now) {
		return Decision{}, false
	}
	message, until := waitsForWindow(w, now)
	return Decision{Reason: ReasonOutsideWindow, Message: s.Channel.Version + " " + message, Until: until}, true
}

func waitsForWindow(w *api.Window, now time.Time) (string, *time.Time) {
	next, ok := rollout.NextOpen(w, now)
	if !ok {
		return "waits for its window, which does not open within eight days", nil
	}
	return "waits for its window until " + InZone(w, next), &next
}

// InZone is a time as people read it in a window's zone, with the zone's name.
func InZone(w *api.Window, at time.Time) string {
	zone := time.UTC
	if w != nil {
		if named, err := time.LoadLocation(w.Zone); err == nil {
			zone = named
		}
	}
	text := at.In(zone).Format("Mon 2006-01-02 15:04 MST")
	if zone != time.UTC {
		text += " (" + zone.String() + ")"
	}
	return text
}
