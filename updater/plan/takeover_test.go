package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

func TestWhatFollowsFromATakeover(t *testing.T) {
	const old, next = "1.0.0", "1.0.1"
	for name, c := range map[string]struct {
		is   plan.Takeover
		want plan.Answer
		code string
	}{
		"the new one waits for its heartbeat":      {plan.Takeover{Running: next, Known: true, Watched: true}, plan.AnswerWait, ""},
		"and was answered":                         {plan.Takeover{Running: next, Known: true, Heard: true}, plan.AnswerCommit, ""},
		"but the watcher has decided":              {plan.Takeover{Running: next, Known: true, Heard: true, Ending: "unheard"}, plan.AnswerWait, ""},
		"or somebody stops it":                     {plan.Takeover{Running: next, Known: true, Heard: true, Ending: "stopped"}, plan.AnswerWait, ""},
		"who said that it died was wrong":          {plan.Takeover{Running: next, Known: true, Heard: true, Ending: "died"}, plan.AnswerCommit, ""},
		"it was committed before the journal was":  {plan.Takeover{Running: next, Current: next}, plan.AnswerCommit, ""},
		"the watcher should have acted by now":     {plan.Takeover{Running: next, Known: true, Waited: time.Minute}, plan.AnswerReturn, plan.CodeTakeoverUnheard},
		"the state was lost, and it waits":         {plan.Takeover{Running: next, Waited: time.Hour, Current: old}, plan.AnswerWait, ""},
		"it died":                                  {plan.Takeover{Running: old, Known: true, Ending: "died"}, plan.AnswerBlame, plan.CodeTakeoverDied},
		"it was not answered, the old one is":      {plan.Takeover{Running: old, Known: true, Ending: "unheard", Heard: true}, plan.AnswerBlame, plan.CodeTakeoverUnheard},
		"the old one may still be":                 {plan.Takeover{Running: old, Known: true, Ending: "unheard", Why: "no answer", Waited: time.Second}, plan.AnswerWait, plan.CodeTakeoverUnheard},
		"the old one is not either":                {plan.Takeover{Running: old, Known: true, Ending: "unheard", Waited: 31 * time.Second}, plan.AnswerExcuse, plan.CodeTakeoverUnheard},
		"it could not be executed":                 {plan.Takeover{Running: old, Known: true, Ending: "notExecuted"}, plan.AnswerExcuse, plan.CodeInterrupted},
		"somebody stopped the sidecar":             {plan.Takeover{Running: old, Known: true, Ending: "stopped"}, plan.AnswerExcuse, plan.CodeInterrupted},
		"the old one ended before":                 {plan.Takeover{Running: old, Known: true, Ending: "interrupted"}, plan.AnswerExcuse, plan.CodeInterrupted},
		"for the fourth time":                      {plan.Takeover{Running: old, Known: true, Ending: "interrupted", Resumed: 4}, plan.AnswerBlame, plan.CodeInterrupted},
		"the host went down":                       {plan.Takeover{Running: old, Known: true}, plan.AnswerExcuse, plan.CodeInterrupted},
		"the watcher has not said yet":             {plan.Takeover{Running: old, Known: true, Watched: true}, plan.AnswerWait, plan.CodeInterrupted},
		"a watcher that says nothing is no excuse": {plan.Takeover{Running: old, Known: true, Watched: true, Waited: time.Hour}, plan.AnswerExcuse, plan.CodeInterrupted},
		"the state was lost":                       {plan.Takeover{Running: old}, plan.AnswerExcuse, plan.CodeInterrupted},
		"somebody installed another one":           {plan.Takeover{Running: "2.0.0", Known: true}, plan.AnswerDrop, plan.CodeStale},
	} {
		t.Run(name, func(t *testing.T) {
			c.is.From, c.is.To, c.is.Patience = old, next, 30*time.Second
			got := c.is.Judge()
			if got.Answer != c.want || got.Code != c.code {
				t.Errorf("%+v: %+v; want %s %s", c.is, got, c.want, c.code)
			}
			silent := c.is.Running == next && c.want != plan.AnswerReturn
			if (got.Reason == "") != silent && c.is.Ending != "died" && c.is.Ending != "notExecuted" {
				t.Errorf("its reason is %q", got.Reason)
			}
		})
	}
}

func TestWhatTheSidecarIsToldAboutItselfIsRefusedWhereItCannotBe(t *testing.T) {
	own := plan.Place{WorkDir: "/work", RunUser: "root"}
	for name, c := range map[string]struct {
		change func(*meta.DesiredAgent)
		says   string
	}{
		"a version":       {func(*meta.DesiredAgent) {}, ""},
		"its own user":    {func(d *meta.DesiredAgent) { d.RunUser = "root" }, ""},
		"another user":    {func(d *meta.DesiredAgent) { d.RunUser = "daemon" }, "runs as root and not as daemon"},
		"a stop":          {func(d *meta.DesiredAgent) { d.Cmd = meta.CmdStop }, "stopped on its host alone"},
		"a remote config": {func(d *meta.DesiredAgent) { d.ConfigFileName, d.ConfigRemoteURL = "x", "http://x/x" }, "leave the remote config out"},
	} {
		t.Run(name, func(t *testing.T) {
			d := meta.DesiredAgent{Name: plan.SelfName, Version: "1.0.1", Tarball: "http://x", MD5: strings.Repeat("0", 32), Cmd: meta.CmdStart}
			c.change(&d)
			got := plan.Wishes(plan.Desired{Agents: []meta.DesiredAgent{d}}, own, "/var/x")[plan.SelfName].Refused
			if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
				t.Errorf("refused: %q; want %q", got, c.says)
			}
		})
	}
}

func TestNothingIsReplacedWhileThatIsWithheld(t *testing.T) {
	s := plan.Situation{
		Name: "falcon", Wish: plan.Wish{Listed: true, Place: plan.Place{WorkDir: "/work", RunUser: "root"}, Agent: meta.DesiredAgent{Name: "falcon", Version: "2", Cmd: meta.CmdStart}},
		At: plan.Place{WorkDir: "/work", RunUser: "root"}, Withheld: "somebody takes over",
	}
	s.Seen.Version, s.Seen.Complete, s.Seen.Status.Word = "1", true, meta.StatusStarted
	if step := plan.Next(s); step.Act != plan.ActNone || !strings.Contains(step.Reason, "somebody takes over") {
		t.Errorf("%+v", step)
	}
	s.Seen.Status.Word, s.Seen.Version = meta.StatusStopped, "2"
	if step := plan.Next(s); step.Act != plan.ActStart {
		t.Errorf("what crashed is to be started: %+v", step)
	}
}
