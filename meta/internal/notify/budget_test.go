package notify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
)

func TestTemplatesThatCostTooMuchAreRefused(t *testing.T) {
	doubled := `{{$x := "0123456789abcdef"}}` + strings.Repeat(`{{$x = printf "%s%s" $x $x}}`, 40)
	for name, template := range map[string]string{
		"a loop over a number":      `{{range 9000000000000000000}}{{end}}`,
		"with a variable":           `{{range $i := 9000000000000000000}}{{end}}`,
		"a number in a variable":    `{{$n := 9000000000000000000}}{{range $n}}{{else}}x{{end}}`,
		"loops in loops":            `{{range 1000}}{{range 1000}}{{range 1000}}{{end}}{{end}}{{end}}`,
		"in a branch":               `{{if true}}{{with "x"}}{{range 9000000000000000000}}{{end}}{{end}}{{end}}`,
		"that goes on":              `{{range 9000000000000000000}}{{continue}}{{end}}`,
		"a template of itself":      `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`,
		"two of each other":         `{{define "a"}}{{template "b"}}{{end}}{{define "b"}}{{template "a"}}{{end}}{{template "a"}}`,
		"one that doubles":          `{{define "a"}}{{template "b"}}{{template "b"}}{{end}}` + branches(30) + `{{template "a"}}`,
		"wide":                      `{{printf "%999999d%999999d%999999d%999999d" 1 2 3 4}}`,
		"wide by an argument":       `{{$x := printf "%*d" 999999 1}}`,
		"precise":                   `{{$x := printf "%.999999f" 1.0}}`,
		"a format made on the way":  `{{$x := printf (printf "%%%dd" 999999) 1}}`,
		"doubled":                   doubled,
		"joined by something large": `{{$x := printf "%999d" 1}}{{range 100}}{{$x = print $x $x}}{{end}}`,
		"much JSON":                 `{{range 100000}}{{$x := json $}}{{end}}`,
		"more text than any":        strings.Repeat("x", 100<<10),
	} {
		t.Run(name, func(t *testing.T) {
			for field, target := range map[string]api.NotifyTarget{
				"template": {Name: "x", Kind: api.NotifyWebhook, URL: "http://127.0.0.1:9/", Template: template},
				"subject":  {Name: "x", Kind: api.NotifyMail, Addresses: []string{"a@example.org"}, Subject: template},
			} {
				begun := time.Now()
				if err := notify.Validate(target); err == nil {
					t.Errorf("%s: it is taken", field)
				}
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("%s: refused after %v", field, took)
				}
			}
		})
	}
}

// branches defines templates each of which calls the next one twice.
func branches(n int) string {
	var b strings.Builder
	name := func(i int) string { return string(rune('b' + i)) }
	for i := range n {
		b.WriteString(`{{define "` + name(i) + `"}}{{template "` + name(i+1) + `"}}{{template "` + name(i+1) + `"}}{{end}}`)
	}
	b.WriteString(`{{define "` + name(n) + `"}}{{end}}`)
	return b.String()
}

func TestUsualTemplatesAreTaken(t *testing.T) {
	for name, template := range map[string]string{
		"stages":    `{{range $i, $s := .Progress}}{{$i}}: {{printf "%5d of %-5d" $s.Succeeded $s.Size}}{{if $s.Failed}}{{break}}{{end}}{{end}}`,
		"hosts":     `{{range .Hosts}}{{upper .}} {{else}}nobody{{end}}{{join ", " .Hosts}}`,
		"JSON":      `{"text":{{json .Message}},"all":{{json .}}}`,
		"named":     `{{define "who"}}{{.Agent | printf "%q" | html}}{{end}}{{template "who" .}}{{block "b" .}}{{js .Message}}{{end}}`,
		"a number":  `{{range 3}}.{{end}}{{print 1 2 "x"}}{{println .Count}}{{urlquery .Reason}}`,
		"the clock": `{{.Time.UTC.Format "2006-01-02"}}`,
	} {
		if err := notify.Validate(api.NotifyTarget{Name: "x", Kind: api.NotifyWebhook, URL: "http://127.0.0.1:9/", Template: template}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
