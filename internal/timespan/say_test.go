package timespan_test

import (
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/timespan"
)

func TestSay(t *testing.T) {
	cases := []struct {
		d    time.Duration
		want string
	}{
		{-time.Hour, "0s"},
		{0, "0s"},
		{59*time.Second + 999*time.Millisecond, "59s"},
		{time.Minute, "1m"},
		{90 * time.Second, "1m30s"},
		{10*time.Minute + 30*time.Second, "10m"},
		{59*time.Minute + 59*time.Second, "59m"},
		{time.Hour, "1h"},
		{90 * time.Minute, "1h30m"},
		{47*time.Hour + 59*time.Minute, "47h"},
		{48 * time.Hour, "2d"},
		{88*time.Hour + 53*time.Minute, "88h"},
		{72*time.Hour + 30*time.Minute, "3d"},
		{400*24*time.Hour + 5*time.Hour, "400d"},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) {
			got := timespan.Say(c.d)
			if got != c.want {
				t.Fatalf("%s: got %s, want %s", c.d, got, c.want)
			}
			if c.d < time.Second {
				return
			}
			if back, err := timespan.Parse(got); err != nil || back > c.d || back < c.d-c.d/10 {
				t.Errorf("%s is read as %s, %v", got, back, err)
			}
		})
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, at := range map[string]time.Time{
		"never":     {},
		"now":       now.Add(-time.Second),
		"5m30s ago": now.Add(-5*time.Minute - 30*time.Second),
		"in 3d":     now.Add(72 * time.Hour),
	} {
		if got := timespan.Ago(now, at); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
