package server_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// What is old by a clock that most hosts contradict is not removed for its age.
func TestAWrongClockRemovesNoHistory(t *testing.T) {
	conf := openConfig(t, newConfig(t))
	r := start(t, conf)
	report := func(host string, at time.Time) {
		t.Helper()
		b := beatOf(host, "1.0", "started", "")
		b.RealAgents[0].Timestamp = at.Unix()
		if _, status := r.heartbeat(t, "", b); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	firstSeen := func(host string) int {
		t.Helper()
		page, err := r.admin.HostEvents(t.Context(), host, api.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Items)
	}
	now := time.Now()
	report("a", now)
	report("b", now.Add(-10*365*24*time.Hour))
	report("c", now.Add(-10*365*24*time.Hour))
	db, err := sql.Open("sqlite", filepath.Join(conf.Data, "ops-meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	within(t, func() bool { // years old by this clock
		_, err := db.Exec(`UPDATE host_events SET time = time - 315360000000000`)
		return err == nil && firstSeen("a") > 0
	})
	r.Clean(t.Context())
	if n := firstSeen("a"); n == 0 {
		t.Fatal("the history was removed by a clock that two of three hosts contradict")
	}
	report("b", now)
	report("c", now)
	r.Clean(t.Context())
	if n := firstSeen("a"); n != 0 {
		t.Errorf("%d events that are ten years old are left", n)
	}
}
