package updater_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/agent"
)

var (
	now  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	home = updater.Place{WorkDir: "/opt/agents", RunUser: "falcon"}
)

const digest = "490ac172dabecc867289079d48e84a66"

// wanted is a situation in which 1.0.0 runs and is wanted; cases change it.
func wanted() updater.Situation {
	return updater.Situation{
		Name: "falcon", At: home, Now: now,
		Wish: updater.Wish{
			Agent:  meta.DesiredAgent{Name: "falcon", Version: "1.0.0", Cmd: meta.CmdStart, MD5: digest},
			Place:  home,
			Listed: true,
		},
		Seen: agent.Observation{
			Version: "1.0.0", Complete: true, Versions: []string{"0.9.0", "1.0.0"},
			Status: agent.Status{Word: meta.StatusStarted},
		},
	}
}

func TestPlan(t *testing.T) {
	stopped := agent.Status{Word: meta.StatusStopped}
	later := now.Add(time.Minute)
	blocked := updater.Block{Key: "md5:" + digest, Version: "2.0.0", Reason: "queue full", Failures: 2, Until: later, Quarantine: true}
	cases := []struct {
		name   string
		change func(*updater.Situation)
		act    updater.Act
		reason string
	}{
		{"as wanted", func(*updater.Situation) {}, updater.ActNone, "as wanted"},
		{"nothing installed", func(s *updater.Situation) { s.Seen = agent.Observation{} }, updater.ActInstall, "nothing is installed, 1.0.0 is wanted"},
		{"directory lost", func(s *updater.Situation) { s.Seen.Complete = false }, updater.ActInstall, "1.0.0 is named but not there"},
		{"upgrade", func(s *updater.Situation) { s.Wish.Agent.Version = "1.0.1" }, updater.ActUpgrade, "1.0.0 is there, 1.0.1 is wanted"},
		{"downgrade", func(s *updater.Situation) { s.Wish.Agent.Version = "0.9.0" }, updater.ActDowngrade, "1.0.0 is there, 0.9.0 is wanted"},
		{"no order", func(s *updater.Situation) { s.Wish.Agent.Version = "nightly" }, updater.ActChange, "1.0.0 is there, nightly is wanted"},
		{"moved", func(s *updater.Situation) { s.Wish.Place.WorkDir = "/srv" }, updater.ActMove, "workDir is /opt/agents, /srv is wanted"},
		{"other user", func(s *updater.Situation) { s.Wish.Place.RunUser = "ops" }, updater.ActChangeUser, "runUser is falcon, ops is wanted"},
		{"crashed", func(s *updater.Situation) { s.Seen.Status = stopped }, updater.ActStart, "stoped though start is wanted"},
		{"crash loop", func(s *updater.Situation) {
			s.Seen.Status, s.Journal.Crash = stopped, updater.CrashLog{Starts: 3, Until: later}
		}, updater.ActWait, "stoped again after 3 starts"},
		{"status unknown", func(s *updater.Situation) {
			s.Seen.Status = agent.Status{Word: meta.StatusUnknown, Detail: "hm"}
		}, updater.ActNone, "status is unknown: hm"},
		{"stop", func(s *updater.Situation) { s.Wish.Agent.Cmd = meta.CmdStop }, updater.ActStop, "stop is wanted, and it is started"},
		{"stop what has another version", func(s *updater.Situation) {
			s.Wish.Agent.Cmd, s.Wish.Agent.Version = meta.CmdStop, "2.0.0"
		}, updater.ActStop, "stop is wanted"},
		{"stopped", func(s *updater.Situation) { s.Wish.Agent.Cmd, s.Seen.Status = meta.CmdStop, stopped }, updater.ActNone, "stoped, as wanted"},
		{"stop nothing", func(s *updater.Situation) { s.Wish.Agent.Cmd, s.Seen = meta.CmdStop, agent.Observation{} }, updater.ActNone, "nothing is installed"},
		{"no command", func(s *updater.Situation) { s.Wish.Agent.Cmd, s.Seen.Status = "", stopped }, updater.ActNone, "only reported"},
		{"orphan", func(s *updater.Situation) { s.Wish = updater.Wish{} }, updater.ActNone, "orphaned"},
		{"crashed orphan", func(s *updater.Situation) { s.Wish, s.Seen.Status = updater.Wish{}, stopped }, updater.ActNone, "orphaned"},
		{"refused", func(s *updater.Situation) { s.Wish.Refused, s.Wish.Agent.Version = "bad md5", "2.0.0" }, updater.ActNone, "refused: bad md5"},
		{"blind", func(s *updater.Situation) { s.Blind, s.Wish.Agent.Version = "no such user", "2.0.0" }, updater.ActNone, "cannot be inspected: no such user"},
		{"held", func(s *updater.Situation) {
			s.Hold, s.Wish.Agent.Version = &updater.Hold{Reason: "exam week"}, "2.0.0"
		}, updater.ActNone, "held: exam week"},
		{"held and moved", func(s *updater.Situation) {
			s.Hold, s.Wish.Place.WorkDir = &updater.Hold{Reason: "exam week"}, "/srv"
		}, updater.ActNone, "held: exam week"},
		{"held and stop", func(s *updater.Situation) {
			s.Hold, s.Wish.Agent.Cmd = &updater.Hold{Reason: "exam week"}, meta.CmdStop
		}, updater.ActNone, "held: exam week; stop is wanted"},
		{"held and crashed", func(s *updater.Situation) {
			s.Hold, s.Seen.Status = &updater.Hold{Reason: "exam week"}, stopped
		}, updater.ActStart, "held (exam week) and stoped"},
		{"operator's rollback", func(s *updater.Situation) {
			s.Hold = &updater.Hold{Reason: "slow", Version: "0.9.0", Against: "1.0.0"}
		}, updater.ActRollback, "an operator went back: slow"},
		{"operator's rollback to what is gone", func(s *updater.Situation) {
			s.Hold = &updater.Hold{Reason: "slow", Version: "0.8.0", Against: "1.0.0"}
		}, updater.ActNone, "0.8.0 is no longer on disk"},
		{"quarantine", func(s *updater.Situation) {
			s.Wish.Agent.Version, s.Journal.Blocks = "2.0.0", []updater.Block{blocked}
		}, updater.ActWait, "2.0.0 is in quarantine after 2 failures: queue full"},
		{"quarantine over", func(s *updater.Situation) {
			s.Wish.Agent.Version, s.Journal.Blocks, s.Now = "2.0.0", []updater.Block{blocked}, later
		}, updater.ActUpgrade, "2.0.0 is wanted"},
		{"quarantine of other content", func(s *updater.Situation) {
			s.Wish.Agent.Version, s.Journal.Blocks, s.Wish.Agent.MD5 = "2.0.0", []updater.Block{blocked}, strings.Repeat("0", 32)
		}, updater.ActUpgrade, "2.0.0 is wanted"},
		{"sha256 identifies before md5", func(s *updater.Situation) {
			s.Wish.Agent.Version, s.Journal.Blocks, s.Wish.Agent.SHA256 = "2.0.0", []updater.Block{blocked}, strings.Repeat("0", 64)
		}, updater.ActUpgrade, "2.0.0 is wanted"},
		{"quarantine and crashed", func(s *updater.Situation) {
			s.Wish.Agent.Version, s.Journal.Blocks, s.Seen.Status = "2.0.0", []updater.Block{blocked}, stopped
		}, updater.ActStart, "while 2.0.0 waits: stoped"},
		{"config due", func(s *updater.Situation) {
			s.ConfigDue, s.Wish.Agent.ConfigFileName, s.Wish.Agent.ConfigRemoteURL = true, "cfg.json", "http://x/c"
		}, updater.ActConfig, "time to look whether cfg.json changed"},
		{"config due without one", func(s *updater.Situation) { s.ConfigDue = true }, updater.ActNone, "as wanted"},
		{"stored reply, another version", func(s *updater.Situation) { s.Unasked, s.Wish.Agent.Version = true, "2.0.0" }, updater.ActNone, "no version is changed until the server has answered"},
		{"stored reply, another version, crashed", func(s *updater.Situation) {
			s.Unasked, s.Wish.Agent.Version, s.Seen.Status = true, "2.0.0", stopped
		}, updater.ActStart, "until the server has answered: stoped"},
		{"stored reply, crashed", func(s *updater.Situation) { s.Unasked, s.Seen.Status = true, stopped }, updater.ActStart, "stoped though start is wanted"},
		{"stored reply, nothing installed", func(s *updater.Situation) { s.Unasked, s.Seen = true, agent.Observation{} }, updater.ActNone, "until the server has answered"},
		{"stored reply, elsewhere", func(s *updater.Situation) { s.Unasked, s.Wish.Place.WorkDir = true, "/srv" }, updater.ActNone, "until the server has answered"},
		{"stored reply, stop", func(s *updater.Situation) { s.Unasked, s.Wish.Agent.Cmd = true, meta.CmdStop }, updater.ActNone, "nothing is stopped until the server has answered"},
		{"stored reply, config due", func(s *updater.Situation) {
			s.Unasked, s.ConfigDue, s.Wish.Agent.ConfigFileName, s.Wish.Agent.ConfigRemoteURL = true, true, "cfg.json", "http://x/c"
		}, updater.ActNone, "as wanted"},
		{"another sidecar's", func(s *updater.Situation) {
			s.Seen.Owner, s.Wish.Agent.Version, s.Journal.Txn = &agent.Owner{VarDir: "/old/var"}, "2.0.0", &updater.Txn{Phase: meta.PhaseStarting}
		}, updater.ActNone, "var_dir /old/var"},
		{"interrupted", func(s *updater.Situation) {
			s.Journal.Txn, s.Wish = &updater.Txn{Act: updater.ActUpgrade, Phase: meta.PhaseStarting}, updater.Wish{}
		}, updater.ActResume, "an interrupted upgrade stands at starting"},
		{"interrupted, blind and held", func(s *updater.Situation) {
			s.Journal.Txn, s.Blind, s.Hold = &updater.Txn{Act: updater.ActMove, Phase: meta.PhaseProbation}, "x", &updater.Hold{}
		}, updater.ActResume, "an interrupted move stands at probation"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := wanted()
			c.change(&s)
			got := updater.Plan(s)
			if got.Act != c.act || !strings.Contains(got.Reason, c.reason) || got.Agent != "falcon" {
				t.Fatalf("step %+v; want %s because %q", got, c.act, c.reason)
			}
			if got.Act == updater.ActWait && !got.Until.Equal(later) {
				t.Fatalf("waits until %v; want %v", got.Until, later)
			}
			if got.Act.Replaces() && got.Act != updater.ActInstall && got.From.Version != "1.0.0" {
				t.Fatalf("from %+v; want what runs", got.From)
			}
		})
	}
}
