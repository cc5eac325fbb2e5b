package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// stage is a small fleet of the real programs on loopback: an ops-meta and
// sidecars, with everything in one temporary directory.
type stage struct {
	t     *testing.T
	bin   string
	dir   string
	addr  string // host:port of ops-meta
	token string
}

// newStage starts an ops-meta with what flags it is given beside its own.
func newStage(t *testing.T, flags ...string) *stage {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, bin: bin, dir: t.TempDir(), addr: freeAddr(t)}
	t.Cleanup(func() { killDaemons(s.dir) })
	s.start("meta.log", "ops-meta", append([]string{"serve", "--listen", s.addr, "--data", filepath.Join(s.dir, "meta")}, flags...)...)
	s.eventually("the admin token", func() bool {
		data, err := os.ReadFile(filepath.Join(s.dir, "meta", "admin.token"))
		s.token = strings.TrimSpace(string(data))
		return err == nil && s.token != ""
	})
	s.eventually("an answer of ops-meta", func() bool { return s.meta("status") == nil })
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a program until the test ends; what it prints goes to a file.
func (s *stage) start(log, name string, args ...string) {
	s.t.Helper()
	s.startProgram(log, filepath.Join(s.bin, name), args...)
}

// startProgram starts a program that is not one of ours.
func (s *stage) startProgram(log, program string, args ...string) {
	s.t.Helper()
	out, err := os.Create(filepath.Join(s.dir, log))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		_ = out.Close()
		if s.t.Failed() {
			text, _ := os.ReadFile(out.Name())
			s.t.Logf("%s:\n%s", log, text)
		}
	})
}

// host starts a sidecar that calls itself name and heartbeats every second.
func (s *stage) host(name string) {
	s.t.Helper()
	home := filepath.Join(s.dir, name)
	cfg, err := json.Marshal(map[string]any{
		"server": s.addr, "hostname": name, "interval": 1, "probation": 1, "work_dir": filepath.Join(home, "agents"), "var_dir": filepath.Join(home, "var"),
	})
	if err == nil {
		err = os.MkdirAll(home, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(home, "cfg.json"), cfg, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.start(name+".log", "ops-updater", "-c", filepath.Join(home, "cfg.json"))
}

// meta runs the operator's command line.
func (s *stage) meta(args ...string) error {
	cmd := exec.Command(filepath.Join(s.bin, "ops-meta"), args...)
	cmd.Env = append(os.Environ(), "OPS_META_SERVER=http://"+s.addr, "OPS_META_TOKEN="+s.token)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ops-meta %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (s *stage) must(args ...string) {
	s.t.Helper()
	if err := s.meta(args...); err != nil {
		s.t.Fatal(err)
	}
}

// tarball packs a sample agent of testdata as a release.
func (s *stage) tarball(sample, version string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, "falcon-agent-"+version+".tar.gz")
	if out, err := exec.Command("tar", "-C", filepath.Join("testdata", "agents", sample), "-czf", path, ".").CombinedOutput(); err != nil {
		s.t.Fatalf("tar: %v\n%s", err, out)
	}
	return path
}

func (s *stage) eventually(what string, happened func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for !happened() {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s did not happen within %s", what, patience)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// browser is a headless Chromium on the page.
type browser struct {
	*stage
	ctx context.Context
}

// step is something done in the browser.
type step = chromedp.Action[chromedp.Void]

func newBrowser(s *stage) browser {
	s.t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			s.t.Fatal("chromium is not installed")
		}
		s.t.Skip("NOT TESTED IN A BROWSER: chromium is not installed (Debian: apt-get install chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-dev-shm-usage", true))
	ctx, cancelAllocator := chromedp.NewExecAllocator(s.t.Context(), options...)
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	s.t.Cleanup(func() { cancelBrowser(); cancelAllocator() })
	return browser{stage: s, ctx: ctx}
}

func (b browser) do(what string, steps ...step) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		at, _ := chromedp.Run(b.ctx, chromedp.Location())
		b.t.Fatalf("%s: %v\non %s:\n%s", what, err, at, b.text())
	}
}

func (b browser) open(path string) step { return chromedp.Navigate("http://" + b.addr + path) }

// css is what a selector picks.
func css(selector string) chromedp.CSS { return chromedp.CSS(selector) }

// text is what a person reads on the page once it is loaded, on one line.
func (b browser) text() string {
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.readyState == "complete" ? document.body.innerText : ""`))
	return strings.Join(strings.Fields(text), " ")
}

// shows waits until the page shows a text, without loading it again: what
// changes must arrive by itself.
func (b browser) shows(text string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for !strings.Contains(b.text(), text) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the page never showed %q, but:\n%s", text, b.text())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// picture keeps a screenshot when SCREENSHOTS names a directory for them.
func (b browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b browser) login() {
	b.t.Helper()
	b.do("log in", b.open("/"), chromedp.SendKeys(css(`input[name=token]`), b.token+kb.Enter))
	b.shows("Log out")
}

// TestAPersonUpdatesAFleet is a day at the page: log in, publish, deploy in
// stages, watch it finish, look a host up and read what happened to it. The
// fleet behind it is real.
func TestAPersonUpdatesAFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	s := newStage(t)
	b := newBrowser(s)
	for i := range 4 {
		s.host(fmt.Sprintf("web-%d", i+1))
	}

	b.picture("login")
	b.login()
	b.shows("No host reports an agent yet")
	b.do("hosts", b.open("/hosts"))
	b.shows("Hosts 4")
	for i := range 4 {
		b.shows(fmt.Sprintf("web-%d", i+1))
	}
	s.host("web-5") // seen coming, with the page open
	b.shows("Hosts 5")
	b.shows("web-5")

	b.do("publish", b.open("/publish"), chromedp.SetUploadFiles(css(`input[type=file]`), []string{s.tarball("daemon", "1.0.0")}), chromedp.Click(css(`form[data-upload] button`)))
	b.shows("Releases")
	b.shows("1.0.0")

	b.do("deploy at once", b.open("/deploy?agent=falcon-agent&version=1.0.0"), chromedp.SetValue(css(`select[name=strategy]`), "(now)"), chromedp.Click(css(`button[name=preview]`)))
	b.shows("5 hosts of 5 would change")
	b.picture("deploy")
	b.do("confirm", chromedp.Click(css(`main form[method=post] button.primary`)))
	b.shows("Wanted For Version")
	b.do("fleet", b.open("/"))
	b.shows("1.0.0 100.0 % 5 hosts")
	b.picture("fleet-one-version")

	b.do("a host", b.open("/hosts"), chromedp.SendKeys(css(`input[type=search]`), "web-3"+kb.Enter))
	b.shows("Hosts 1")
	b.do("open it", chromedp.Click(css(`tbody a[href="/hosts/web-3"]`)))
	b.shows("Timeline")
	b.shows("phase falcon-agent probation → idle")
	b.picture("host")
}

// TestRolloutsInTheBrowser steers rollouts by the page alone: one that goes
// through, seen without loading anything again, and one whose canary fails,
// which closes the gate and is aborted by hand.
func TestRolloutsInTheBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	b := newFleet(t)

	b.rollOut("1.1.0", "quick")
	b.shows("canary")
	b.shows("completed")
	b.picture("rollout-completed")
	b.do("fleet", b.open("/"))
	b.shows("1.1.0 100.0 % 4 hosts")

	b.rollOut("1.2.0", "quick")
	b.shows("paused")
	b.shows("Failed hosts")
	b.picture("rollout-paused")
	b.do("fleet", b.open("/"))
	b.shows("Failing now")
	b.shows("1.1.0 100.0 % 4 hosts")
	b.picture("fleet")
	b.do("rollouts", b.open("/rollouts?state=active"), chromedp.Click(css(`tbody a[href^="/rollouts/"]`)))
	b.shows("Failed hosts")
	b.do("abort", chromedp.Click(css(`a[href$="/abort"]`)))
	b.shows("never get 1.2.0")
	b.picture("abort")
	b.do("confirm", chromedp.SendKeys(css(`input[name=reason]`), "it does not start"), chromedp.Click(css(`button.danger`)))
	b.shows("aborted")
	b.shows("it does not start")
	b.do("changes", b.open("/changes"))
	b.shows("rollout")
	b.picture("changes")
}

// TestPauseAndRollBackInTheBrowser stops a rollout in the middle of its first
// stage, lets it go on, and takes it back.
func TestPauseAndRollBackInTheBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	b := newFleet(t)

	b.rollOut("1.1.0", "patient")
	b.shows("1 succeeded · 0 failed · 1 granted")
	b.act("pause", "No further host is let have 1.1.0")
	b.shows("to everyone, from 1.0.0 paused")
	b.act("resume", "3 hosts to go")
	b.shows("to everyone, from 1.0.0 running")
	b.act("rollback", "takes 1 host back to 1.0.0")
	b.shows("completed")
	b.do("fleet", b.open("/"))
	b.shows("1.0.0 100.0 % 4 hosts")
	b.do("rollouts", b.open("/rollouts"))
	b.shows("aborted")
}

// act does something to the rollout that is open, and checks that the page
// says first what it will change.
func (b browser) act(action, effect string) {
	b.t.Helper()
	b.do(action, chromedp.Click(css(`a[href$="/`+action+`"]`)))
	b.shows(effect)
	b.do("confirm "+action, chromedp.SendKeys(css(`input[name=reason]`), "because"), chromedp.Click(css(`main form[method=post] button`)))
	b.shows("What happened")
}

// newFleet is four hosts that run 1.0.0, with 1.1.0 and 1.2.0 published (the
// last is broken), two strategies, and a browser that has logged in.
func newFleet(t *testing.T) browser {
	t.Helper()
	s := newStage(t)
	b := newBrowser(s)
	strategies := filepath.Join(s.dir, "fleet.yaml")
	file := "strategies:\n  - name: quick\n    stages: [{name: canary, count: 1}, {percent: 50}, {name: everyone, percent: 100}]\n" +
		"  - name: patient\n    stages: [{name: canary, count: 1, soak: 3600}, {name: everyone, percent: 100}]\n"
	if err := os.WriteFile(strategies, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("apply", "-f", strategies)
	for version, sample := range map[string]string{"1.0.0": "daemon", "1.1.0": "daemon", "1.2.0": "broken"} {
		s.must("publish", s.tarball(sample, version))
	}
	for i := range 4 {
		s.host(fmt.Sprintf("web-%d", i+1))
	}
	b.login()
	b.do("hosts", b.open("/hosts"))
	b.shows("Hosts 4")
	s.must("deploy", "falcon-agent", "1.0.0", "--now")
	b.do("fleet", b.open("/"))
	b.shows("1.0.0 100.0 % 4 hosts")
	return b
}

// rollOut starts a rollout to everyone with a strategy.
func (b browser) rollOut(version, strategy string) {
	b.t.Helper()
	b.do("choose", b.open("/deploy?agent=falcon-agent&version="+version), chromedp.SetValue(css(`select[name=strategy]`), strategy), chromedp.Click(css(`button[name=preview]`)))
	b.shows("by the strategy " + strategy)
	b.do("start", chromedp.Click(css(`main form[method=post] button.primary`)))
	b.shows("What happened")
}

// key presses and releases a key as a keyboard does: what the page does with
// the press decides whether a letter is typed.
func key(k, text string) step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
			event := input.DispatchKeyEventParams{Type: kind, Key: k}
			if kind == input.DispatchKeyEventTypeKeyDown {
				event.Text = text
			}
			if k == "Enter" {
				event.Code, event.WindowsVirtualKeyCode = "Enter", 13
			}
			if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, event); err != nil {
				return err
			}
		}
		return nil
	})
}

// typed presses the keys of a text.
func typed(text string) step {
	var steps []step
	for _, r := range text {
		steps = append(steps, key(string(r), string(r)))
	}
	return chromedp.Steps(steps...)
}

// TestKeyboardAndPhone uses the page without a mouse, and on a phone's width.
func TestKeyboardAndPhone(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	s := newStage(t)
	b := newBrowser(s)
	s.must("publish", s.tarball("daemon", "1.0.0"))
	s.must("deploy", "falcon-agent", "1.0.0", "--now")
	s.host("db-1")
	s.host("db-2")
	b.login()
	b.shows("1.0.0 100.0 % 2 hosts")

	b.do("g h", typed("gh"))
	b.shows("Hosts 2")
	b.do("/ and a name", typed("/db-2"), key("Enter", "\r"))
	b.shows("Hosts 1")
	b.do("j and Enter", typed("j"), key("Enter", "\r"))
	b.shows("Timeline")
	b.do("?", typed("?"))
	b.shows("next, previous row")
	b.do("Escape", chromedp.KeyEvent(kb.Escape))
	b.do("g f", typed("gf"))
	b.shows("in order")
	b.do("Tab", chromedp.KeyEvent(kb.Tab))
	if on, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.activeElement.textContent`)); err != nil || on != "Skip to content" {
		t.Errorf("the first Tab leads to %q, %v", on, err)
	}

	b.do("a phone", chromedp.EmulateViewport(390, 844))
	for _, path := range []string{"/", "/hosts", "/hosts/db-1", "/agents/falcon-agent", "/deploy?agent=falcon-agent", "/changes"} {
		b.do(path, b.open(path))
		if wide, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](`document.documentElement.scrollWidth`)); err != nil || wide > 390 {
			t.Errorf("%s is %v pixels wide on a phone, %v", path, wide, err)
		}
	}
	b.do("fleet", b.open("/"))
	b.shows("in order")
	b.picture("phone")
}

// TestEveryControlHasAName looks at each page as a screen reader does.
func TestEveryControlHasAName(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	s := newStage(t)
	b := newBrowser(s)
	s.must("publish", s.tarball("daemon", "1.0.0"))
	s.must("group", "set", "web", "--prefix", "web-")
	s.must("deploy", "falcon-agent", "1.0.0", "--now")
	b.login()
	const nameless = `[...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, svg[role=img], progress")]
		.filter(e => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length || e.placeholder || e.querySelector("img[alt]")))
		.map(e => e.outerHTML.slice(0, 120))`
	for _, path := range []string{"/", "/hosts", "/agents", "/agents/falcon-agent", "/rollouts", "/groups", "/groups/edit?name=web", "/holds", "/holds/new", "/changes", "/settings", "/deploy", "/publish"} {
		b.do(path, b.open(path))
		found, err := chromedp.Run(b.ctx, chromedp.Evaluate[[]string](nameless))
		if err != nil || len(found) > 0 {
			t.Errorf("%s has controls without a name: %v, %v", path, found, err)
		}
		if n, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](`document.querySelectorAll("h1").length`)); err != nil || n != 1 {
			t.Errorf("%s has %v main headings, %v", path, n, err)
		}
	}
}
