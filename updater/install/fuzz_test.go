package install_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/updater/install"
)

// FuzzRetryAfter: whatever a server of tarballs says, nobody waits less than nothing
// or for more than a day.
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"1", "-1", "-9223372037", "-9223372036854775808", "86401", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", ""} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, after string) {
		if wait := install.RetryAfterIn(http.Header{"Retry-After": {after}}, now); wait < 0 || wait > 24*time.Hour {
			t.Fatalf("Retry-After %q: %v", after, wait)
		}
	})
}

// FuzzIsWeb: nothing but http and https with a host is fetched.
func FuzzIsWeb(f *testing.F) {
	for _, s := range []string{"http://h/x", "file:///etc/passwd", "https://", "http:/x", "HTTP://h", "//h", "http://h\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !install.IsWeb(raw) {
			return
		}
		if r, err := http.NewRequest(http.MethodGet, raw, nil); err == nil && (r.URL.Host == "" || r.URL.Scheme != "http" && r.URL.Scheme != "https") {
			t.Fatalf("%q passes for an address", raw)
		}
		if u, err := url.Parse(raw); err != nil || u.Host == "" {
			t.Fatalf("%q passes for an address: %v", raw, err)
		}
	})
}
