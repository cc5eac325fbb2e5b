package schedule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/schedule"
)

var noon = time.Date(2026, 3, 27, 12, 0, 0, 0, time.UTC) // a Friday

// ready is a situation in which a rollout begins.
func ready() schedule.Situation {
	return schedule.Situation{
		Schedule: api.Schedule{Name: "production", Channel: "stable"}.WithScope(), Agent: "web",
		Strategy:  api.Strategy{Name: "waves", Stages: []api.Stage{{Name: "first", Percent: 10}, {Percent: 100}}},
		Channel:   api.Channel{Agent: "web", Name: "stable", Version: "1.1", Revision: 7},
		Assigned:  api.Assignment{Agent: "web", Version: "1.0"},
		Published: true,
	}
}

func rolloutIn(version string, state api.RolloutState, reason string) api.Rollout {
	return api.Rollout{
		ID: "r1", Agent: "web", Version: version, State: state, Reason: reason, Schedule: "production", UpdatedAt: noon,
		Strategy: ready().Strategy, Progress: make([]api.StageCount, 2),
	}
}

func TestWhatIsNext(t *testing.T) {
	took := api.Take{Version: "1.1", Moved: 7, Time: noon, Rollout: "r1"}
	for _, c := range []struct {
		name string
		set  func(*schedule.Situation)
		act  schedule.Act
		why  schedule.Reason
		says string // part of the message
	}{
		{"nothing in the way", func(*schedule.Situation) {}, schedule.ActBegin, schedule.ReasonBegins, "web 1.1"},
		{"nothing assigned yet", func(s *schedule.Situation) { s.Assigned = api.Assignment{} }, schedule.ActBegin, schedule.ReasonBegins, ""},
		{"an older version: the channel went back on purpose", func(s *schedule.Situation) { s.Assigned.Version = "2.0" }, schedule.ActBegin, schedule.ReasonBegins, ""},
		{"no channel", func(s *schedule.Situation) { s.Channel = api.Channel{} }, "", schedule.ReasonNoChannel, "no channel stable"},
		{"a channel that points at nothing", func(s *schedule.Situation) { s.Channel.Version = "" }, "", schedule.ReasonNoChannel, "no version yet"},
		{"there already", func(s *schedule.Situation) { s.Assigned.Version = "1.1" }, schedule.ActTake, schedule.ReasonUpToDate, "everyone is assigned 1.1"},
		{"there already, and noted", func(s *schedule.Situation) { s.Assigned.Version, s.Taken = "1.1", took }, "", schedule.ReasonUpToDate, ""},
		{"under way by our hand", func(s *schedule.Situation) {
			s.Latest, s.Taken = rolloutIn("1.1", api.RolloutRunning, "stage-started"), took
		}, "", schedule.ReasonUnderWay, "in stage first, 1 of 2"},
		{"under way by somebody's hand", func(s *schedule.Situation) { s.Latest = rolloutIn("1.1", api.RolloutRunning, "stage-started") }, schedule.ActTake, schedule.ReasonUnderWay, ""},
		{"halted by failures", func(s *schedule.Situation) {
			s.Latest, s.Taken = rolloutIn("1.1", api.RolloutPaused, "too-many-failures"), took
		}, "", schedule.ReasonHalted, "too-many-failures"},
		{"an older one is under way", func(s *schedule.Situation) { s.Latest = rolloutIn("1.0.5", api.RolloutRunning, "stage-started") }, "", schedule.ReasonFinishing, "before 1.1 begins"},
		{"an older one was halted by failures", func(s *schedule.Situation) { s.Latest = rolloutIn("1.0.5", api.RolloutPaused, "failure-rate") }, schedule.ActBegin, schedule.ReasonBegins, "takes the place of rollout r1"},
		{"an older one is inconclusive", func(s *schedule.Situation) { s.Latest = rolloutIn("1.0.5", api.RolloutInconclusive, "no-evidence") }, schedule.ActBegin, schedule.ReasonBegins, ""},
		{"an older one was paused by a person", func(s *schedule.Situation) { s.Latest = rolloutIn("1.0.5", api.RolloutPaused, api.ReasonPaused) }, "", schedule.ReasonFinishing, ""},
		{"an older one waits for approval", func(s *schedule.Situation) {
			s.Latest = rolloutIn("1.0.5", api.RolloutAwaitingApproval, "approval-needed")
		}, "", schedule.ReasonFinishing, ""},
		{"somebody's own was halted by failures", func(s *schedule.Situation) {
			s.Latest = rolloutIn("1.0.5", api.RolloutPaused, "failure-rate")
			s.Latest.Schedule = ""
		}, "", schedule.ReasonFinishing, ""},
		{"hosts go back", func(s *schedule.Situation) {
			s.Latest = rolloutIn("1.0", api.RolloutRunning, "stage-started")
			s.Latest.RollbackOf = "r0"
		}, "", schedule.ReasonGoingBack, ""},
		{"taken back as bad", func(s *schedule.Situation) {
			s.Of, s.Taken = []api.Rollout{rolloutIn("1.1", api.RolloutAborted, "rolled-back")}, took
		}, "", schedule.ReasonTakenBack, "waits for a newer release, or for ops-meta deploy web 1.1"},
		{"taken back as bad, under another schedule", func(s *schedule.Situation) {
			s.Of = []api.Rollout{rolloutIn("1.1", api.RolloutAborted, "too-many-failures")}
		}, "", schedule.ReasonTakenBack, "2026-03-27 12:00 UTC"},
		{"tried again since, and good", func(s *schedule.Situation) {
			s.Of = []api.Rollout{rolloutIn("1.1", api.RolloutCompleted, "completed"), rolloutIn("1.1", api.RolloutAborted, "rolled-back")}
		}, schedule.ActBegin, schedule.ReasonBegins, ""},
		{"aborted by a person", func(s *schedule.Situation) {
			s.Latest = rolloutIn("1.1", api.RolloutAborted, "aborted")
			s.Of, s.Taken = []api.Rollout{s.Latest}, took
		}, "", schedule.ReasonTaken, "was aborted (aborted)"},
		{"another version was assigned by hand since", func(s *schedule.Situation) { s.Taken = took }, "", schedule.ReasonTaken, "everyone is assigned 1.0"},
		{"the channel came back to it", func(s *schedule.Situation) { s.Taken, s.Channel.Revision = took, 9 }, schedule.ActBegin, schedule.ReasonBegins, ""},
		{"paused", func(s *schedule.Situation) { s.Schedule.Paused = true }, "", schedule.ReasonPaused, "schedule resume production"},
		{"a standstill", func(s *schedule.Situation) { s.Standstill, s.Schedule.Paused = &api.Standstill{}, true }, "", schedule.ReasonStandstill, ""},
		{"told to stop", func(s *schedule.Situation) { s.Assigned.Cmd = meta.CmdStop }, "", schedule.ReasonStopped, ""},
		{"no artifact", func(s *schedule.Situation) { s.Published = false }, "", schedule.ReasonNoArtifact, ""},
		{"nobody can have it", func(s *schedule.Situation) { s.Refusal = "no host of everyone can have it" }, "", schedule.ReasonUndeliverable, "no host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := ready()
			c.set(&s)
			d := schedule.Decide(s, noon)
			if d.Act != c.act || d.Reason != c.why || !strings.Contains(d.Message, c.says) || d.Message == "" {
				t.Errorf("%+v, want %q because of %s, saying %q", d, c.act, c.why, c.says)
			}
		})
	}
}

// Windows are on the clock of their zone, also on the days on which that is moved:
// in Berlin on 29 March and on 25 October 2026.
func TestABeginningWaitsForTheWindow(t *testing.T) {
	night := &api.Window{From: "22:00", To: "02:00", Zone: "Europe/Berlin"}
	for _, c := range []struct {
		name   string
		window *api.Window
		now    string
		until  string // empty: it begins
		says   string
	}{
		{"open", night, "2026-03-27T21:00:00Z", "", ""},
		{"in winter", night, "2026-03-27T12:00:00Z", "2026-03-27T21:00:00Z", "Fri 2026-03-27 22:00 CET (Europe/Berlin)"},
		{"in summer", night, "2026-03-29T12:00:00Z", "2026-03-29T20:00:00Z", "Sun 2026-03-29 22:00 CEST (Europe/Berlin)"},
		{"past midnight", night, "2026-03-28T00:30:00Z", "", ""},
		{"past its end", night, "2026-03-28T01:00:00Z", "2026-03-28T21:00:00Z", ""},
		{"the day it begins on counts past midnight", &api.Window{Days: []string{"fri"}, From: "22:00", To: "02:00"}, "2026-03-28T01:59:00Z", "", ""},
		{"and not the day after", &api.Window{Days: []string{"fri"}, From: "22:00", To: "02:00"}, "2026-03-28T22:30:00Z", "2026-04-03T22:00:00Z", "Fri"},
		{"it begins in the hour that is left out", &api.Window{From: "02:30", To: "04:00", Zone: "Europe/Berlin"}, "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "03:00 CEST"},
		{"it lies in the hour that is left out", &api.Window{From: "02:10", To: "02:50", Zone: "Europe/Berlin"}, "2026-03-29T00:30:00Z", "2026-03-30T00:10:00Z", "Mon 2026-03-30 02:10 CEST"},
		{"in the hour that comes twice, the second time", &api.Window{From: "02:30", To: "03:00", Zone: "Europe/Berlin"}, "2026-10-25T01:10:00Z", "2026-10-25T01:30:00Z", "02:30 CET"},
		{"without a zone it is UTC", &api.Window{From: "13:00", To: "14:00"}, "2026-03-27T12:00:00Z", "2026-03-27T13:00:00Z", "13:00 UTC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := ready()
			s.Strategy.Window = c.window
			now, err := time.Parse(time.RFC3339, c.now)
			if err != nil {
				t.Fatal(err)
			}
			d := schedule.Decide(s, now)
			if c.until == "" {
				if d.Act != schedule.ActBegin {
					t.Errorf("%+v, want it to begin", d)
				}
				return
			}
			if d.Act != "" || d.Reason != schedule.ReasonOutsideWindow || d.Until == nil || d.Until.Format(time.RFC3339) != c.until || !strings.Contains(d.Message, c.says) {
				t.Errorf("%+v until %v, want it to wait until %s, saying %q", d, d.Until, c.until, c.says)
			}
			// A minute before it waits as well, and then it begins.
			if before := schedule.Decide(s, d.Until.Add(-time.Minute)); before.Act != "" {
				t.Errorf("a minute before: %+v", before)
			}
			if then := schedule.Decide(s, *d.Until); then.Act != schedule.ActBegin {
				t.Errorf("then: %+v", then)
			}
		})
	}
}

func TestARolloutUnderWayTellsOfItsWindow(t *testing.T) {
	s := ready()
	s.Latest = rolloutIn("1.1", api.RolloutRunning, "window-closed")
	s.Latest.Strategy.Window = &api.Window{From: "22:00", To: "23:00"}
	d := schedule.Decide(s, noon)
	if d.Reason != schedule.ReasonUnderWay || d.Until == nil || !strings.Contains(d.Message, "until Fri 2026-03-27 22:00 UTC") {
		t.Errorf("%+v", d)
	}
}
