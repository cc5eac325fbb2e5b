package main

import (
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestSchedulesInTheBrowser is an operator who sees what waits and until when, looks
// ahead, pauses and resumes, and sees the release go out by itself on real hosts.
func TestSchedulesInTheBrowser(t *testing.T) {
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
	for _, name := range []string{"web-1", "web-2"} {
		s.host(name)
	}
	opens := time.Now().UTC().Add(2 * time.Hour)
	s.must("strategy", "set", "waves", "--stages", "50%,100%", "--window", opens.Format("15:04")+"-"+opens.Add(time.Hour).Format("15:04"))
	s.must("channel", "set", "falcon-agent", "stable", "1.0.0")
	s.must("schedule", "set", "production", "--channel", "stable", "--strategy", "waves")

	b.login()
	b.shows("1.0.0 100.0 % 2 hosts")
	b.do("schedules", chromedp.Click(css(`nav a[href="/schedules"]`)))
	b.shows("up-to-date")
	s.must("channel", "set", "falcon-agent", "stable", "1.1.0")
	b.shows("outside-window") // with the page open
	b.audit("/schedules", string(axe))
	b.picture("schedules")

	b.do("the plan", chromedp.Click(css(`a[aria-label="Plan of production"]`)))
	b.shows("Begins " + opens.Format("2006-01-02 15:04:00 UTC"))
	b.shows("changes: 2")
	b.audit("/schedules/production/plan", string(axe))
	b.picture("plan")
	b.do("each host", chromedp.Click(css(`a[href^="/schedules/production/plan/hosts"]`)))
	b.shows("2 hosts of the plan")
	b.shows("web-2")
	b.audit("/schedules/production/plan/hosts", string(axe))

	b.do("pause", b.open("/schedules"), chromedp.Click(css(`a[aria-label="pause production"]`)))
	b.shows("Pause the schedule production?")
	b.do("yes", chromedp.Click(css(`form button.primary`)))
	b.shows("the schedule is paused")
	s.must("strategy", "set", "waves", "--window=")
	b.do("resume", chromedp.Click(css(`a[aria-label="resume production"]`)))
	b.shows("1 agent is not at what their channel points at")
	b.do("yes", chromedp.Click(css(`form button.primary`)))
	b.shows("everyone is assigned 1.1.0")
	b.do("fleet", b.open("/"))
	b.shows("1.1.0 100.0 % 2 hosts")
}
