package timespan_test

import (
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/timespan"
)

func TestParse(t *testing.T) {
	cases := []struct {
		text string
		want time.Duration // 0: refused
	}{
		{"90d", 90 * 24 * time.Hour},
		{" 12h ", 12 * time.Hour},
		{"1h30m", 90 * time.Minute},
		{"500ms", 500 * time.Millisecond},
		{"", 0},
		{"d", 0},
		{"0d", 0},
		{"0s", 0},
		{"-1d", 0},
		{"1.5d", 0},
		{"999999999d", 0},
		{"2000000h", 0},
		{"-5m", 0},
		{"90", 0},
		{"tomorrow", 0},
	}
	for _, tc := range cases {
		if got, err := timespan.Parse(tc.text); got != tc.want || (err == nil) != (tc.want > 0) {
			t.Errorf("%q is %v, %v; want %v", tc.text, got, err, tc.want)
		}
	}
}

func TestCount(t *testing.T) {
	cases := []struct {
		unit    time.Duration
		text    string
		want    int
		refusal string
	}{
		{timespan.Second, "90", 90, ""},
		{timespan.Second, "0", 0, ""},
		{timespan.Second, "1h30m", 5400, ""},
		{timespan.Second, "2d", 172800, ""},
		{timespan.Day, "30", 30, ""},
		{timespan.Day, "48h", 2, ""},
		{timespan.Day, "36h", 0, `"36h" is not a whole number of days`},
		{timespan.Second, "1500ms", 0, `"1500ms" is not a whole number of seconds`},
		{timespan.Second, "-5", 0, "-5 must not be negative"},
		{timespan.Second, "9223372036854775807", 0, "9223372036854775807 is too long"},
		{timespan.Second, "soon", 0, `"soon" is not a time such as 90s, 5m, 1h30m or 2d`},
	}
	for _, tc := range cases {
		got, err := timespan.Count(tc.unit, tc.text)
		if got != tc.want || (err == nil) != (tc.refusal == "") || err != nil && err.Error() != tc.refusal {
			t.Errorf("%q is %d, %v; want %d, %q", tc.text, got, err, tc.want, tc.refusal)
		}
	}
}
