package timespan_test

import (
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/timespan"
)

const century = 36500 * timespan.Day

// FuzzParse: what is read is above 0, no more than a century, and once said is
// read as the same again, but for what Say leaves out.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"90s", "5m", "1h30m", "2d", "0s", "-1h", "36501d", "1e3s", "９d", "1d1h", " 7d ", "0.5ns", "1.3s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := timespan.Parse(text)
		if err != nil {
			return
		}
		if d <= 0 || d > century {
			t.Fatalf("%q was read as %v", text, d)
		}
		if d = d.Truncate(time.Second); d == 0 {
			return // Say says whole seconds
		}
		back, err := timespan.Parse(timespan.Say(d))
		if err != nil || back > d || back < d-d/10 {
			t.Fatalf("%q is %v, said as %q, read as %v, %v", text, d, timespan.Say(d), back, err)
		}
		if again := timespan.Say(back); again != timespan.Say(d) {
			t.Fatalf("%q is said as %q, and that as %q", text, timespan.Say(d), again)
		}
	})
}

// FuzzCount: a number of units is never negative and means the time that In reads.
func FuzzCount(f *testing.F) {
	for _, s := range []string{"3", "90s", "2d", "-1", "9223372036854775807", "1h1s", "", "+4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, unit := range []time.Duration{timespan.Second, timespan.Day} {
			n, err := timespan.Count(unit, text)
			if err != nil {
				continue
			}
			if d, err := timespan.In(unit, text); n < 0 || err != nil || d != time.Duration(n)*unit {
				t.Fatalf("%q is %d of %v; in time it is %v, %v", text, n, unit, d, err)
			}
		}
	})
}
