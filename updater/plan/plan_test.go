package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

var (
	now  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	home = plan.Place{WorkDir: "/opt/agents", RunUser: "falcon"}
)

const digest = "490ac172dabecc867289079d48e84a66"

// wanted is a situation in which 1.0.0 runs and is wanted; cases change it.
func wanted() plan.Situation {
	return plan.Situation{
		Name: "falcon", At: home, Now: now,
		Wish: plan.Wish{
			Agent:  meta.DesiredAgent{Name: "falcon", Version: "1.0.0", Cmd: meta.CmdStart, MD5: digest},
			Place:  home,
			Listed: true,
		},
		Seen: plan.Observation{
			Version: "1.0.0", Complete: true, Versions: []string{"0.9.0", "1.0.0"},
			Status: status.Status{Word: meta.StatusStarted},
		},
	}
}

// loseVersion: .version names what is not there, and the journal knows what it named.
func loseVersion(s *plan.Situation, named string) {
	s.Seen.Version, s.Seen.Complete, s.Seen.Status = named, false, status.Status{Word: meta.StatusUnknown}
	s.Journal.At, s.Journal.Current = home, "1.0.0"
}

func TestPlan(t *testing.T) {
	stopped := status.Status{Word: meta.StatusStopped}
	later := now.Add(time.Minute)
	blocked := plan.Block{Key: "md5:" + digest, Version: "2.0.0", Reason: "queue full", Failures: 2, Until: later, Quarantine: true}
	cases := []struct {
		name   string
		change func(*plan.Situation)
		act    plan.Act
		reason string
	}{
		{"as wanted", func(*plan.Situation) {}, plan.ActNone, "as wanted"},
		{"nothing installed", func(s *plan.Situation) { s.Seen = plan.Observation{} }, plan.ActInstall, "nothing is installed, 1.0.0 is wanted"},
		{"directory lost", func(s *plan.Situation) { s.Seen.Complete = false }, plan.ActInstall, "1.0.0 is named but not there"},
		{"directory lost, elsewhere wanted", func(s *plan.Situation) {
			s.Seen.Complete, s.Seen.Version, s.Wish.Place.WorkDir = false, "9.9.9", "/srv"
		}, plan.ActInstall, ".version in /opt/agents names nothing that is there"},
		{"version file lost", func(s *plan.Situation) { loseVersion(s, "") }, plan.ActRestore, "names nothing; 1.0.0 is there, and was named before"},
		{"version file of the sidecar itself names another", func(s *plan.Situation) { s.Misnamed = "0.9.0" }, plan.ActRestore, "names 0.9.0; 1.0.0 runs"},
		{"and another is wanted", func(s *plan.Situation) {
			s.Misnamed, s.Wish.Agent.Version = "0.9.0", "1.0.1"
		}, plan.ActUpgrade, "1.0.1 is wanted"},
		{"version file damaged", func(s *plan.Situation) { loseVersion(s, "9.9.9") }, plan.ActRestore, "names 9.9.9; 1.0.0 is there"},
		{"version file lost, held", func(s *plan.Situation) { loseVersion(s, ""); s.Hold = &plan.Hold{Reason: "exam week"} }, plan.ActRestore, "1.0.0 is there"},
		{"version file lost, stop", func(s *plan.Situation) { loseVersion(s, ""); s.Wish.Agent.Cmd = meta.CmdStop }, plan.ActRestore, "1.0.0 is there"},
		{"version file lost, elsewhere wanted", func(s *plan.Situation) { loseVersion(s, ""); s.Wish.Place.WorkDir = "/srv" }, plan.ActRestore, "1.0.0 is there"},
		{"version file lost, quarantine", func(s *plan.Situation) {
			loseVersion(s, "")
			s.Wish.Agent.Version, s.Journal.Blocks = "2.0.0", []plan.Block{blocked}
		}, plan.ActRestore, "1.0.0 is there"},
		{"version file lost, no command", func(s *plan.Situation) { loseVersion(s, ""); s.Wish.Agent.Cmd = "" }, plan.ActNone, "only reported"},
		{"version file and directory lost", func(s *plan.Situation) { loseVersion(s, ""); s.Seen.Versions = []string{"0.9.0"} }, plan.ActInstall, "1.0.0 is wanted"},
		{"version file lost, known of another place", func(s *plan.Situation) { loseVersion(s, ""); s.Journal.At.WorkDir = "/srv" }, plan.ActInstall, "1.0.0 is wanted"},
		{"upgrade", func(s *plan.Situation) { s.Wish.Agent.Version = "1.0.1" }, plan.ActUpgrade, "1.0.0 is there, 1.0.1 is wanted"},
		{"downgrade", func(s *plan.Situation) { s.Wish.Agent.Version = "0.9.0" }, plan.ActDowngrade, "1.0.0 is there, 0.9.0 is wanted"},
		{"no order", func(s *plan.Situation) { s.Wish.Agent.Version = "nightly" }, plan.ActChange, "1.0.0 is there, nightly is wanted"},
		{"moved", func(s *plan.Situation) { s.Wish.Place.WorkDir = "/srv" }, plan.ActMove, "workDir is /opt/agents, /srv is wanted"},
		{"other user", func(s *plan.Situation) { s.Wish.Place.RunUser = "ops" }, plan.ActChangeUser, "runUser is falcon, ops is wanted"},
		{"crashed", func(s *plan.Situation) { s.Seen.Status = stopped }, plan.ActStart, "stoped though start is wanted"},
		{"crash loop", func(s *plan.Situation) {
			s.Seen.Status, s.Journal.Crash = stopped, plan.CrashLog{Starts: 3, Until: later}
		}, plan.ActWait, "stoped again after 3 starts"},
		{"status unknown", func(s *plan.Situation) {
			s.Seen.Status = status.Status{Word: meta.StatusUnknown, Detail: "hm"}
		}, plan.ActNone, "status is unknown: hm"},
		{"stop", func(s *plan.Situation) { s.Wish.Agent.Cmd = meta.CmdStop }, plan.ActStop, "stop is wanted, and it is started"},
		{"stop what has another version", func(s *plan.Situation) {
			s.Wish.Agent.Cmd, s.Wish.Agent.Version = meta.CmdStop, "2.0.0"
		}, plan.ActStop, "stop is wanted"},
		{"stopped", func(s *plan.Situation) { s.Wish.Agent.Cmd, s.Seen.Status = meta.CmdStop, stopped }, plan.ActNone, "stoped, as wanted"},
		{"stop nothing", func(s *plan.Situation) { s.Wish.Agent.Cmd, s.Seen = meta.CmdStop, plan.Observation{} }, plan.ActNone, "nothing is installed"},
		{"no command", func(s *plan.Situation) { s.Wish.Agent.Cmd, s.Seen.Status = "", stopped }, plan.ActNone, "only reported"},
		{"orphan", func(s *plan.Situation) { s.Wish = plan.Wish{} }, plan.ActNone, "orphaned"},
		{"crashed orphan", func(s *plan.Situation) { s.Wish, s.Seen.Status = plan.Wish{}, stopped }, plan.ActNone, "orphaned"},
		{"refused", func(s *plan.Situation) { s.Wish.Refused, s.Wish.Agent.Version = "bad md5", "2.0.0" }, plan.ActNone, "refused: bad md5"},
		{"blind", func(s *plan.Situation) { s.Blind, s.Wish.Agent.Version = "no such user", "2.0.0" }, plan.ActNone, "cannot be inspected: no such user"},
		{"held", func(s *plan.Situation) {
			s.Hold, s.Wish.Agent.Version = &plan.Hold{Reason: "exam week"}, "2.0.0"
		}, plan.ActNone, "held: exam week"},
		{"held and moved", func(s *plan.Situation) {
			s.Hold, s.Wish.Place.WorkDir = &plan.Hold{Reason: "exam week"}, "/srv"
		}, plan.ActNone, "held: exam week"},
		{"held and stop", func(s *plan.Situation) {
			s.Hold, s.Wish.Agent.Cmd = &plan.Hold{Reason: "exam week"}, meta.CmdStop
		}, plan.ActNone, "held: exam week; stop is wanted"},
		{"held and crashed", func(s *plan.Situation) {
			s.Hold, s.Seen.Status = &plan.Hold{Reason: "exam week"}, stopped
		}, plan.ActStart, "held (exam week) and stoped"},
		{"operator's rollback", func(s *plan.Situation) {
			s.Hold = &plan.Hold{Reason: "slow", Version: "0.9.0", Against: "1.0.0"}
		}, plan.ActRollback, "an operator went back: slow"},
		{"operator's rollback to what is gone", func(s *plan.Situation) {
			s.Hold = &plan.Hold{Reason: "slow", Version: "0.8.0", Against: "1.0.0"}
		}, plan.ActNone, "0.8.0 is no longer on disk"},
		{"quarantine", func(s *plan.Situation) {
			s.Wish.Agent.Version, s.Journal.Blocks = "2.0.0", []plan.Block{blocked}
		}, plan.ActWait, "2.0.0 is in quarantine after 2 failures: queue full"},
		{"quarantine over", func(s *plan.Situation) {
			s.Wish.Agent.Version, s.Journal.Blocks, s.Now = "2.0.0", []plan.Block{blocked}, later
		}, plan.ActUpgrade, "2.0.0 is wanted"},
		{"quarantine of other content", func(s *plan.Situation) {
			s.Wish.Agent.Version, s.Journal.Blocks, s.Wish.Agent.MD5 = "2.0.0", []plan.Block{blocked}, strings.Repeat("0", 32)
		}, plan.ActUpgrade, "2.0.0 is wanted"},
		{"sha256 identifies before md5", func(s *plan.Situation) {
			s.Wish.Agent.Version, s.Journal.Blocks, s.Wish.Agent.SHA256 = "2.0.0", []plan.Block{blocked}, strings.Repeat("0", 64)
		}, plan.ActUpgrade, "2.0.0 is wanted"},
		{"quarantine and crashed", func(s *plan.Situation) {
			s.Wish.Agent.Version, s.Journal.Blocks, s.Seen.Status = "2.0.0", []plan.Block{blocked}, stopped
		}, plan.ActStart, "while 2.0.0 waits: stoped"},
		{"config due", func(s *plan.Situation) {
			s.ConfigDue, s.Wish.Agent.ConfigFileName, s.Wish.Agent.ConfigRemoteURL = true, "cfg.json", "http://x/c"
		}, plan.ActConfig, "time to look whether cfg.json changed"},
		{"config due without one", func(s *plan.Situation) { s.ConfigDue = true }, plan.ActNone, "as wanted"},
		{"stored reply, another version", func(s *plan.Situation) { s.Stored, s.Wish.Agent.Version = true, "2.0.0" }, plan.ActNone, "no version is changed until the server has answered"},
		{"stored reply, another version, crashed", func(s *plan.Situation) {
			s.Stored, s.Wish.Agent.Version, s.Seen.Status = true, "2.0.0", stopped
		}, plan.ActStart, "until the server has answered: stoped"},
		{"stored reply, crashed", func(s *plan.Situation) { s.Stored, s.Seen.Status = true, stopped }, plan.ActStart, "stoped though start is wanted"},
		{"stored reply, nothing installed", func(s *plan.Situation) { s.Stored, s.Seen = true, plan.Observation{} }, plan.ActNone, "until the server has answered"},
		{"stored reply, elsewhere", func(s *plan.Situation) { s.Stored, s.Wish.Place.WorkDir = true, "/srv" }, plan.ActNone, "until the server has answered"},
		{"stored reply, stop", func(s *plan.Situation) { s.Stored, s.Wish.Agent.Cmd = true, meta.CmdStop }, plan.ActNone, "nothing is stopped until the server has answered"},
		{"stored reply, config due", func(s *plan.Situation) {
			s.Stored, s.ConfigDue, s.Wish.Agent.ConfigFileName, s.Wish.Agent.ConfigRemoteURL = true, true, "cfg.json", "http://x/c"
		}, plan.ActNone, "as wanted"},
		{"another sidecar's", func(s *plan.Situation) {
			s.Seen.OwnedBy, s.Wish.Agent.Version, s.Journal.Txn = "the ops-updater with pid 1 and var_dir /old/var", "2.0.0", &plan.Txn{Phase: meta.PhaseStarting}
		}, plan.ActNone, "var_dir /old/var"},
		{"interrupted", func(s *plan.Situation) {
			s.Journal.Txn, s.Wish = &plan.Txn{Act: plan.ActUpgrade, Phase: meta.PhaseStarting}, plan.Wish{}
		}, plan.ActResume, "an interrupted upgrade stands at starting"},
		{"interrupted, blind and held", func(s *plan.Situation) {
			s.Journal.Txn, s.Blind, s.Hold = &plan.Txn{Act: plan.ActMove, Phase: meta.PhaseProbation}, "x", &plan.Hold{}
		}, plan.ActResume, "an interrupted move stands at probation"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := wanted()
			c.change(&s)
			got := plan.Next(s)
			if got.Act != c.act || !strings.Contains(got.Reason, c.reason) || got.Agent != "falcon" {
				t.Fatalf("step %+v; want %s because %q", got, c.act, c.reason)
			}
			if got.Act == plan.ActWait && !got.Until.Equal(later) {
				t.Fatalf("waits until %v; want %v", got.Until, later)
			}
			if got.Act.Replaces() && got.Act != plan.ActInstall && got.From.Version != "1.0.0" {
				t.Fatalf("from %+v; want what runs", got.From)
			}
		})
	}
}

// A start or a stop that failed is over once the agent came to it all the same.
func TestAFailedStartIsOverOnceItRuns(t *testing.T) {
	cases := map[string]struct {
		change func(*plan.Situation)
		phase  meta.Phase
	}{
		"it runs":                     {func(*plan.Situation) {}, meta.PhaseIdle},
		"it does not":                 {func(s *plan.Situation) { s.Seen.Status.Word = meta.StatusStopped }, meta.PhaseFailed},
		"nobody knows":                {func(s *plan.Situation) { s.Seen.Status.Word = meta.StatusUnknown }, meta.PhaseFailed},
		"it is to stop and runs":      {func(s *plan.Situation) { s.Wish.Agent.Cmd = meta.CmdStop }, meta.PhaseFailed},
		"a transaction failed before": {func(s *plan.Situation) { s.Journal.Last.Key = "md5:" + digest }, meta.PhaseFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := wanted()
			s.Journal.Last = plan.Outcome{Phase: meta.PhaseFailed, Version: "1.0.0", Error: "cannot reach control", Code: plan.CodeNotStarted}
			c.change(&s)
			got := s.State(plan.Next(s))
			if got.Phase != c.phase || (got.Error == "") != (c.phase == meta.PhaseIdle) {
				t.Errorf("%s: %q; want %s", got.Phase, got.Error, c.phase)
			}
		})
	}
}
