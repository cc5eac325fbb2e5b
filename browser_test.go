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

func newStage(t *testing.T) *stage {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, bin: bin, dir: t.TempDir(), addr: freeAddr(t)}
	t.Cleanup(func() { killDaemons(s.dir) })
	s.start("meta.log", "ops-meta", "serve", "--listen", s.addr, "--data", filepath.Join(s.dir, "meta"))
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
	out, err := os.Create(filepath.Join(s.dir, log))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
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

// text is what a person reads on the page, on one line.
func (b browser) text() string {
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText`))
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
	s := newStage(t)
	b := newBrowser(s)
	for i := range 4 {
		s.host(fmt.Sprintf("web-%d", i+1))
	}

	b.picture("login")
	b.login()
	b.shows("No host reports an agent yet")
	b.do("hosts", b.open("/hosts"))
	for i := range 4 {
		b.shows(fmt.Sprintf("web-%d", i+1))
	}

	b.do("publish", b.open("/publish"), chromedp.SetUploadFiles(css(`input[type=file]`), []string{s.tarball("daemon", "1.0.0")}), chromedp.Click(css(`form[data-upload] button`)))
	b.shows("Releases")
	b.shows("1.0.0")

	b.do("deploy at once", b.open("/deploy?agent=falcon-agent&version=1.0.0"), chromedp.SetValue(css(`select[name=strategy]`), "(now)"), chromedp.Click(css(`button[name=preview]`)))
	b.shows("4 hosts of 4 would change")
	b.picture("deploy")
	b.do("confirm", chromedp.Click(css(`main form[method=post] button.primary`)))
	b.shows("Wanted For Version")
	b.do("fleet", b.open("/"))
	b.shows("1.0.0 100.0 % 4 hosts")
	b.picture("fleet-one-version")

	b.do("a host", b.open("/hosts"), chromedp.SendKeys(css(`input[type=search]`), "web-3"+kb.Enter))
	b.shows("Hosts 1")
	b.do("open it", chromedp.Click(css(`tbody a[href="/hosts/web-3"]`)))
	b.shows("Timeline")
	b.shows("phase falcon-agent probation → idle")
	b.picture("host")
}
