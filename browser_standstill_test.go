package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestAStandstillInTheBrowser is the day after a restore: every page says that
// nothing moves, one shows the difference and follows it while what is wanted is
// mended, and its button lets a real host have what is wanted.
func TestAStandstillInTheBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	axe, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	b := newBrowser(s)
	for _, v := range []string{"1.0.0", "1.1.0"} {
		s.must("publish", s.tarball("daemon", v))
	}
	s.must("deploy", "falcon-agent", "1.0.0", "--now")
	backup := filepath.Join(s.dir, "before.tgz")
	s.must("backup", backup)
	s.must("restore", backup, "--data", filepath.Join(s.dir, "restored"))
	s.addr = freeAddr(t) // the first server goes on, with a fleet of nobody
	s.start("restored.log", "ops-meta", "serve", "--listen", s.addr, "--data", filepath.Join(s.dir, "restored"))
	s.eventually("an answer of the restored server", func() bool { return s.meta("status") == nil })
	s.report(running("web-1", "1.1.0"))

	b.login()
	b.shows("The fleet stands still: the database was restored from a backup")
	b.do("the difference", chromedp.Click(css(`p[role=alert] a[href="/standstill"]`)))
	b.shows("falcon-agent 1.1.0 1.0.0 1 web-1")
	b.audit("/standstill", string(axe))
	b.picture("standstill")
	s.host("web-2")
	b.shows("falcon-agent nothing 1.0.0 1 web-2")

	// Somebody mends what is wanted while the page is open.
	s.must("deploy", "falcon-agent", "1.1.0", "--now")
	b.shows("falcon-agent nothing 1.1.0 1 web-2")
	b.shows("no longer what it was when you opened the page")
	b.do("hosts", b.open("/hosts/web-2"))
	b.shows("The fleet stands still")
	b.do("go", b.open("/standstill"), chromedp.SendKeys(css(`input[name=reason]`), "looked "), renewed(), chromedp.SendKeys(css(`input[name=reason]`), "at it"),
		chromedp.Click(css(`form[action="/standstill"] button`)))
	b.shows("1.1.0 100.0 % 2 hosts")
	b.do("again", b.open("/standstill"))
	b.shows("The fleet does not stand still")
	b.do("changes", b.open("/changes"))
	b.shows("looked at it")
}

// running is the report of a host that nobody else plays.
func running(host, version string) map[string]any {
	return map[string]any{
		"hostname": host, "ip": "10.0.0.9", "arch": "linux_amd64", "protocol": 1,
		"realAgents": []map[string]any{{"name": "falcon-agent", "version": version, "status": "started", "phase": "idle", "timestamp": 1}},
	}
}

// renewed has the page look again, as at any change, and waits until it has.
func renewed() step {
	const look = `new Promise((done) => {
		document.addEventListener("htmx:afterSettle", () => done(true), {once: true});
		htmx.trigger(document.getElementById("live"), "sse:change");
	})`
	return chromedp.Evaluate[chromedp.Void](look, chromedp.EvalAwaitPromise)
}
