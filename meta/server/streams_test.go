package server_test

import (
	"net/http"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Streams of changes are bounded, and who has many keeps nobody else out.
func TestStreamsOfChangesAreBounded(t *testing.T) {
	r := start(t, newConfig(t))
	greedy, other := r.newToken(t, "greedy", api.RoleViewer, 0).Secret, r.newToken(t, "other", api.RoleViewer, 0).Secret
	open := func(token string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/api/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	var last *http.Response
	for i := range 64 {
		if last = open(greedy); last.StatusCode != http.StatusOK {
			t.Fatalf("stream %d got %d", i, last.StatusCode)
		}
	}
	if more := open(greedy); more.StatusCode != http.StatusServiceUnavailable || more.Header.Get("Retry-After") == "" { //nolint:bodyclose // open's clean-up closes it
		t.Errorf("the 65th stream got %d, %v", more.StatusCode, more.Header)
	}
	if mine := open(other); mine.StatusCode != http.StatusOK { //nolint:bodyclose // open's clean-up closes it
		t.Errorf("somebody else's stream got %d", mine.StatusCode)
	}
	if page := r.page(t, greedy, "/live"); page.StatusCode != http.StatusServiceUnavailable || page.Header.Get("Retry-After") == "" {
		t.Errorf("the page's stream got %d, %v", page.StatusCode, page.Header)
	}
	_ = last.Body.Close()
	within(t, func() bool { // the place is free again
		resp := open(greedy) //nolint:bodyclose // open's clean-up closes it
		return resp.StatusCode == http.StatusOK
	})
}
