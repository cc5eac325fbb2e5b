package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestAPersonAddsAHost at the page: makes the line, says it on a host, and sees the host
// come, with the page open.
func TestAPersonAddsAHost(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	for _, program := range []string{"curl", "tar"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: %s is not installed", program)
		}
	}
	t.Parallel()
	s := newStage(t)
	b := newBrowser(s)
	b.login()
	b.do("add hosts", b.open("/add-hosts"))
	b.shows("This server holds no release of ops-updater")

	pack, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.Command(filepath.Join(s.bin, "ops-updater"), "-v").Output()
	if err != nil {
		t.Fatal(err)
	}
	release := filepath.Join(s.dir, "ops-updater-"+strings.TrimSpace(string(version))+".tar.gz")
	if out, err := exec.Command("tar", "-czf", release, "-C", s.bin, "ops-updater", "-C", pack, "control", "cfg.example.json").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	s.must("publish", release)
	b.do("again", b.open("/add-hosts"))
	b.shows("This server hands out ops-updater")
	b.shows("They appear here as they come")
	b.do("make the line", chromedp.SendKeys(css(`input[name=name]`), "rack-7"), chromedp.Click(css(`form[action="/add-hosts"] button`)))
	b.shows("Enrolled with rack-7 0")
	line, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector("#install").textContent`))
	if err != nil {
		t.Fatal(err)
	}
	b.picture("add-hosts")

	home := filepath.Join(s.dir, "box")
	install := exec.Command("sh", "-c", line+` -s -- --dir "$1" --hostname box-1`, "sh", home)
	install.Env = append(os.Environ(), "HOME="+s.dir)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command(filepath.Join(home, "control"), "stop").CombinedOutput(); err != nil {
			t.Errorf("control stop: %v\n%s", err, out)
		}
	})
	b.shows("Enrolled with rack-7 1")
	b.shows("box-1")
	b.do("look it up once it has reported", chromedp.Click(css(`tbody a[href="/hosts/box-1"]`)))
	b.shows("Timeline")
}
