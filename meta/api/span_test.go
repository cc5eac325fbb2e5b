package api_test

import (
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

func TestParseSpan(t *testing.T) {
	cases := []struct {
		text string
		want time.Duration // 0: refused
	}{
		{"90d", 90 * 24 * time.Hour},
		{" 12h ", 12 * time.Hour},
		{"1h30m", 90 * time.Minute},
		{"", 0},
		{"d", 0},
		{"0d", 0},
		{"-1d", 0},
		{"1.5d", 0},
		{"999999999d", 0},
		{"-5m", 0},
		{"tomorrow", 0},
	}
	for _, tc := range cases {
		if got, err := api.ParseSpan(tc.text); got != tc.want || (err == nil) != (tc.want > 0) {
			t.Errorf("%q is %v, %v; want %v", tc.text, got, err, tc.want)
		}
	}
}
