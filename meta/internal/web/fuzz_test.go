package web_test

import (
	"maps"
	"net/url"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/internal/web"
)

// FuzzSession: no cookie opens a session but those that were sealed with the key.
func FuzzSession(f *testing.F) {
	key, now := [32]byte{1}, time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	seal, open := web.Sessions(key, now)
	foreign, _ := web.Sessions([32]byte{2}, now)
	ours, err := seal("token")
	if err != nil {
		f.Fatal(err)
	}
	theirs, err := foreign("token")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{ours, theirs, "", "AAAA", ours[:len(ours)-2], ours + "A", "; " + ours} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cookie string) {
		// Only ours is sealed with the key; another spelling of it opens the same.
		if token, err := open(cookie); err == nil && token != "token" {
			t.Fatalf("%q opens a session of %q", cookie, token)
		}
	})
}

// FuzzLabels: labels that a form holds are the same after they were shown and sent again.
func FuzzLabels(f *testing.F) {
	for _, s := range []string{"a=b\nc=d", "a", "=x", " a = b ", "a=b=c\r\n\r\n", "a=\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		labels, err := web.LabelsOf(text)
		if err != nil {
			return
		}
		again, err := web.LabelsOf(web.LabelLines(labels))
		if err != nil || !maps.Equal(again, labels) {
			t.Fatalf("%q is %q, and that %q: %v", text, labels, again, err)
		}
	})
}

// FuzzWithQuery: a link with another parameter has that, and the path it had.
func FuzzWithQuery(f *testing.F) {
	for _, s := range []string{"/hosts?a=b&cursor=x", "/", "?%zz", "//h/x", "/a%2fb"} {
		f.Add(s, "c d&")
	}
	f.Fuzz(func(t *testing.T, link, value string) {
		got, err := web.WithQuery(link, "sort", value)
		if err != nil {
			return
		}
		before, err := url.Parse(link)
		if err != nil {
			t.Fatalf("%q became %q", link, got)
		}
		after, err := url.Parse(got)
		if err != nil || after.Query().Get("sort") != value || after.Path != before.Path || after.Host != before.Host || after.Query().Has("cursor") {
			t.Fatalf("%q with %q became %q: %v", link, value, got, err)
		}
	})
}
