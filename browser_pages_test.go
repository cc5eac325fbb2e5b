package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// pages are all pages of a fleet as newAwkwardFleet makes it.
var pages = []string{
	"/", "/hosts", "/hosts/" + awkwardHost, "/agents", "/agents/falcon-agent", "/rollouts", "/groups", "/groups/edit?name=web", "/groups/edit",
	"/holds", "/holds/new", "/changes", "/settings", "/deploy", "/deploy?agent=falcon-agent", "/publish",
	"/schedules", "/schedules/production/plan", "/schedules/production/plan/hosts?agent=second-agent", "/schedules/production/pause",
}

const awkwardHost = "a-host-whose-name-is-as-long-as-host-names-may-be-for-nobody-thought-of-phones.rack-17.row-4.site-north.example"

// newAwkwardFleet has one host whose name, labels and errors leave no place to
// break a line, two agents, a rollout, a group and a hold.
func newAwkwardFleet(t *testing.T) (browser, string) {
	t.Helper()
	s := newStage(t)
	b := newBrowser(s)
	s.must("publish", s.tarball("daemon", "1.0.0"))
	other := filepath.Join(s.dir, "second-agent-1.0.0.tar.gz")
	if err := os.Rename(s.tarball("daemon", "1.0.0"), other); err != nil {
		t.Fatal(err)
	}
	s.must("publish", other, "--agent", "second-agent", "--version", "1.0.0")
	s.must("group", "set", "web", "--prefix", "web-")
	s.report(map[string]any{
		"hostname": awkwardHost, "ip": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "arch": "linux_amd64", "protocol": 1,
		"labels": map[string]string{"purpose": strings.Repeat("x", 120)},
		"realAgents": []map[string]any{{
			"name": "falcon-agent", "version": "0.9.0-" + strings.Repeat("z", 90), "status": "started", "phase": "failed",
			"error": "/opt/" + strings.Repeat("deep", 60), "workDir": "/opt/" + strings.Repeat("agents", 20), "timestamp": 1,
		}},
	})
	s.must("hold", "add", "--agent", "second-agent", "--reason", strings.Repeat("because", 20))
	s.must("rollout", "create", "falcon-agent", "1.0.0", "--stages", "1,100%")
	s.must("schedule", "set", "production", "--channel", "stable", "--description", strings.Repeat("described", 20))
	s.must("schedule", "pause", "production")
	s.must("channel", "set", "falcon-agent", "stable", "1.0.0")
	s.must("channel", "set", "second-agent", "stable", "1.0.0")
	b.login()
	b.do("rollouts", b.open("/rollouts"))
	b.shows("falcon-agent 1.0.0")
	b.do("the rollout", chromedp.Click(css(`tbody a[href^="/rollouts/"]`)))
	b.shows("What happened")
	at, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil {
		t.Fatal(err)
	}
	return b, strings.TrimPrefix(at, "http://"+s.addr)
}

// report sends one heartbeat as a host that nobody else plays.
func (s *stage) report(heartbeat map[string]any) {
	s.t.Helper()
	body, err := json.Marshal(heartbeat)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.Post("http://"+s.addr+"/api/heartbeat", "application/json", strings.NewReader(string(body)))
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("the heartbeat was answered with %s", resp.Status)
	}
}

// TestPagesAreAccessibleAndFitAPhone looks at every page with axe, in the light
// and in the dark, and at a phone's width.
func TestPagesAreAccessibleAndFitAPhone(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	b, rollout := newAwkwardFleet(t)
	for _, path := range append(pages, rollout, rollout+"/hosts", rollout+"/pause") {
		b.do(path, chromedp.EmulateViewport(1280, 900), scheme("light"), b.open(path))
		b.audit(path, string(axe))
		b.do(path, chromedp.EmulateViewport(360, 740), scheme("dark"), b.open(path))
		b.audit(path+" in the dark on a phone", string(axe))
		wide, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](`Math.max(document.documentElement.scrollWidth, ...[...document.querySelectorAll("main > *, main .panel, main form")].map(e => e.scrollWidth))`))
		if err != nil || wide > 360 {
			t.Errorf("%s is %v pixels wide on a phone, %v", path, wide, err)
		}
	}
}

// scheme asks for light or dark colours.
func scheme(name string) step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
		return err
	})
}

// audit has axe look at the page that is open.
func (b browser) audit(what, axe string) {
	b.t.Helper()
	b.text()
	b.run(axe)
	const violations = `axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
		.then(r => r.violations.map(v => v.impact + " " + v.id + ": " + v.nodes.map(n => n.target.join(" ") + " " + n.failureSummary).slice(0, 3).join("; ")))`
	found, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](violations, chromedp.EvalAwaitPromise))
	if err != nil || len(found) > 0 {
		b.t.Errorf("%s: axe finds %v\n%s", what, err, strings.Join(found, "\n"))
	}
}

// TestDeployFromEverywhere chooses what is not known yet, step by step, from
// each place that has the button; and what is refused is not lost.
func TestDeployFromEverywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	b, rollout := newAwkwardFleet(t)
	for _, from := range []string{"/", "/rollouts", "/hosts/" + awkwardHost} {
		b.do("from "+from, b.open(from), chromedp.Click(css(`main a.button.primary[href^="/deploy"]`)))
		b.shows("Choose a version")
		b.chooseAgent("second-agent")
		b.shows("Show what changes")
		b.do("preview", chromedp.Click(css(`button[name=preview]`)))
		b.shows("would change")
		b.shows("second-agent 1.0.0 to")
	}
	// Without scripts the button leads on.
	b.do("deploy without an agent", b.open("/deploy"))
	b.run(`document.querySelector("select[name=agent]").value = "second-agent"`)
	b.do("choose a version", chromedp.Click(css(`main form button.primary`)))
	b.shows("Show what changes")

	b.do("to nobody", b.open("/deploy?agent=second-agent&version=1.0.0&scope=nobody&strategy=(now)&preview=1"))
	b.shows("nobody")
	kept, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("main form select")].map(s => s.value).join(" ")`))
	if err != nil || kept != "second-agent 1.0.0 everyone (now) " {
		t.Errorf("the form kept %q, %v", kept, err)
	}

	// A file that is refused: the form keeps it.
	bad := filepath.Join(b.dir, "broken-1.0.0.tar.gz")
	if err := os.WriteFile(bad, []byte("no tarball"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.do("publish", b.open("/publish"), chromedp.SendKeys(css(`input[name=version]`), "3.0.0"),
		chromedp.SendKeys(css(`input[name=agent]`), "falcon-agent"),
		chromedp.SetUploadFiles(css(`input[type=file]`), []string{bad}), chromedp.Click(css(`form[data-upload] button`)))
	b.shows("gzip")
	kept, err = chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector("input[name=version]").value + " " + document.querySelector("input[type=file]").files.length`))
	if err != nil || kept != "3.0.0 1" {
		t.Errorf("the form kept %q, %v:\n%s", kept, err, b.text())
	}

	// A count leads to the hosts behind it.
	b.do("the rollout", b.open(rollout), chromedp.Click(css(`.stages a[href$="state=succeeded"]`)))
	b.shows("None of its hosts is succeeded")
}

// run has the page run a script.
func (b browser) run(script string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`String((() => { `+script+` })())`)); err != nil {
		b.t.Fatal(err)
	}
}

// chooseAgent picks an agent as a person does, which the page notices.
func (b browser) chooseAgent(name string) {
	b.t.Helper()
	b.run(`const agent = document.querySelector("select[name=agent]"); agent.value = "` + name + `"; agent.dispatchEvent(new Event("change", {bubbles: true}))`)
}

// TestPagesFollowWhatHappens has pages open while others change what they show.
func TestPagesFollowWhatHappens(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	b, _ := newAwkwardFleet(t)
	for i, c := range []struct {
		path string
		do   []string
		want string
	}{
		{"/holds", []string{"hold", "add", "--host", "web-1", "--reason", "seen while it happens"}, "seen while it happens"},
		{"/groups", []string{"group", "set", "late", "--prefix", "late-"}, "late-…"},
		{"/changes", []string{"group", "set", "later", "--prefix", "later-"}, "group later"},
		{"/settings", []string{"token", "create", "late-token", "--role", "viewer"}, "late-token"},
	} {
		b.do(c.path, b.open(c.path))
		b.text()
		b.must(c.do...)
		b.shows(c.want)
		if i == 0 {
			b.do("what was typed stays", b.open("/settings"), chromedp.SendKeys(css(`form.row input[name=name]`), "half-typed"))
			b.must("token", "create", "another", "--role", "viewer")
			b.shows("another")
			if typed, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector("form.row input[name=name]").value`)); err != nil || typed != "half-typed" {
				t.Errorf("the form says %q, %v", typed, err)
			}
		}
	}

	// Times are ages until a clock is asked for, also after the page was renewed.
	b.do("times", b.open("/holds"), chromedp.Click(css(`#zone`)), chromedp.Click(css(`#zone`)))
	b.shows("Times: UTC")
	b.must("hold", "add", "--host", "web-2", "--reason", "one more", "--for", "2h")
	b.shows("one more")
	b.shows(" UTC")
	b.do("reload", b.open("/holds"))
	b.shows("Times: UTC")
	// The page looks again once it is open, and what that brings is put in after the clock.
	const ages = `[...document.querySelectorAll("time")].filter(t => !/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/.test(t.textContent)).length`
	left := 1.0
	for deadline := time.Now().Add(patience); left > 0; time.Sleep(50 * time.Millisecond) {
		var err error
		if left, err = chromedp.Run(b.ctx, chromedp.Evaluate[float64](ages)); err != nil || time.Now().After(deadline) {
			t.Fatalf("%s times are still ages, %v", fmt.Sprint(left), err)
		}
	}
}
