package notify_test

import (
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
)

// FuzzTemplates: a template of an operator is refused as a field of theirs or taken,
// within bounded time, and judged the same when asked again.
func FuzzTemplates(f *testing.F) {
	for _, s := range []string{"{{.Message}}", "{{range 100000000}}x{{end}}", "{{define \"a\"}}{{template \"a\" .}}{{end}}{{template \"a\" .}}", "{{printf \"%1000000000d\" 1}}", "{{", "{{index .Progress 0}}", "{{join \" \" .Hosts}}"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, subject, text string) {
		target := api.NotifyTarget{Name: "n", Kind: api.NotifyWebhook, URL: "https://x/y", Subject: subject, Template: text}
		first, second := notify.Validate(target), notify.Validate(target)
		if (first == nil) != (second == nil) {
			t.Fatalf("%q, %q: %v, and again %v", subject, text, first, second)
		}
		if first != nil && api.KindOf(first) != api.KindInvalid {
			t.Fatalf("%q, %q: %v", subject, text, first)
		}
	})
}
