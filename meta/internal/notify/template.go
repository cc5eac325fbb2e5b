package notify

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/ops-updater/ops-updater/meta/api"
)

// The built-in templates.
const (
	defaultSubject = `[ops-meta] {{.Event}}{{with .Agent}} {{.}}{{end}}{{with .Version}} {{.}}{{end}}{{with .Host}} on {{.}}{{end}}{{if .Count}} on {{.Count}} hosts{{end}}`
	defaultText    = `{{.Message}}

Event:   {{.Event}}
Time:    {{.Time.UTC.Format "2006-01-02 15:04:05 UTC"}}
{{- with .Agent}}
Agent:   {{.}}{{with $.Version}} {{.}}{{end}}{{end}}
{{- with .Host}}
Host:    {{.}}{{end}}
{{- with .Rollout}}
Rollout: {{.}}{{end}}
{{- if .To}}
State:   {{with .From}}{{.}} → {{end}}{{.To}}{{end}}
{{- with .Reason}}
Reason:  {{.}}{{with $.HostReason}} ({{.}}){{end}}{{end}}
{{- with .Actor}}
By:      {{.}}{{end}}
{{- range $i, $s := .Progress}}
Stage {{$i}}: {{$s.Granted}} granted, {{$s.Succeeded}} succeeded, {{$s.Failed}} failed, of {{$s.Size}}{{end}}
{{- with .Link}}

{{.}}{{end}}
`
)

// maxRendered bounds what a template may write.
const maxRendered = 64 << 10

// renderTemplate fills in a template.
func renderTemplate(name, text string, n api.Notice) (string, error) {
	t, err := parseBounded(name, text, newBudget(time.Now()))
	if err != nil {
		return "", fmt.Errorf("cannot read the %s: %w", name, err)
	}
	var out bounded
	if err := t.Execute(&out, n); err != nil {
		return "", fmt.Errorf("cannot fill in the %s: %w", name, err)
	}
	return out.String(), nil
}

// bounded is a buffer with an end.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRendered {
		return 0, errors.New("it writes more than 64 KiB")
	}
	return b.Buffer.Write(p)
}

// subjectOf is a mail's subject on one line.
func subjectOf(t api.NotifyTarget, n api.Notice) (string, error) {
	text := t.Subject
	if text == "" {
		text = defaultSubject
	}
	s, err := renderTemplate("subject", text, n)
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return s, err
}

// textOf is what is said.
func textOf(t api.NotifyTarget, n api.Notice) (string, error) {
	if t.Template == "" {
		return renderTemplate("template", defaultText, n)
	}
	return renderTemplate("template", t.Template, n)
}

// Validate checks a target with its templates, which must work for every kind
// of notice.
func Validate(t api.NotifyTarget) error {
	if err := t.Validate(); err != nil {
		return err
	}
	for _, n := range sampleNotices() {
		if _, err := subjectOf(t, n); err != nil {
			return api.InvalidField("subject", "%v", err)
		}
		if _, err := textOf(t, n); err != nil {
			return api.InvalidField("template", "%v", err)
		}
	}
	return nil
}

// sampleNotices are notices of each kind, to try templates with.
func sampleNotices() []api.Notice {
	now := time.Now()
	failed := api.Notice{ID: "1", Event: api.NotifyHostFailed, Time: now, Host: "host", Agent: "agent", Version: "1.0.0", Rollout: "r", Message: "failed"}
	return []api.Notice{
		{
			ID: "2", Event: api.NotifyRollout + string(api.RolloutPaused), Time: now, Agent: "agent", Version: "1.0.0", Rollout: "r",
			From: string(api.RolloutRunning), To: string(api.RolloutPaused), Reason: "too-many-failures", Message: "paused",
			Link: "https://ops-meta.example/rollouts/r", Progress: []api.StageCount{{Size: 1}},
		},
		failed,
		digestOf([]api.Notice{failed, failed}),
		Host(api.NotifyHostSilent, api.Event{Time: now, Host: "host", Kind: api.EventSilent}, ""),
		Test(now, "operator"),
	}
}

// Test is the notice that tries a target.
func Test(now time.Time, actor string) api.Notice {
	return api.Notice{
		ID: stampOf(api.NotifyTest, actor, now), Event: api.NotifyTest, Time: now, Actor: actor,
		Message: "This is a test: notifications of ops-meta arrive here.",
	}
}
