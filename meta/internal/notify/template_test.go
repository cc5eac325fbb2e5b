package notify_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
)

func TestTemplatesMakeTheBody(t *testing.T) {
	r := newReceiver(t)
	target := hook(r)
	target.Template = `{"text": {{json .Message}}, "who": "{{upper .Agent}}"}`
	o := newOffice(t, target)
	o.owe(t, paused)
	o.run(t, nil)
	eventually(t, "the delivery", func() bool { return len(r.deliveries()) > 0 })
	d := r.deliveries()[0]
	if string(d.body) != `{"text": "1 of 2 hosts failed", "who": "FALCON-AGENT"}` || d.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s, %s", d.header.Get("Content-Type"), d.body)
	}
	if err := verify("s3cret", d.header, d.body, time.Now(), time.Minute); err != nil {
		t.Error(err)
	}
}

func TestTargetsAreCheckedWithTheirTemplates(t *testing.T) {
	good := api.NotifyTarget{Name: "n", Kind: api.NotifyWebhook, URL: "https://x/y"}
	cases := []struct {
		name   string
		change func(*api.NotifyTarget)
		field  string
	}{
		{"good", func(*api.NotifyTarget) {}, ""},
		{"good templates", func(n *api.NotifyTarget) {
			n.Subject, n.Template = "{{.Event}}", "{{range .Progress}}{{.Size}}{{end}}{{join \" \" .Hosts}}"
		}, ""},
		{"no address", func(n *api.NotifyTarget) { n.URL = "" }, "url"},
		{"a template that does not parse", func(n *api.NotifyTarget) { n.Template = "{{.Message" }, "template"},
		{"a field that does not exist", func(n *api.NotifyTarget) { n.Template = "{{.Mesage}}" }, "template"},
		{"a subject that fails for some", func(n *api.NotifyTarget) { n.Subject = "{{index .Progress 0}}" }, "subject"},
		{"an endless one", func(n *api.NotifyTarget) { n.Template = "{{range 100000000}}x{{end}}" }, "template"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			target := good
			c.change(&target)
			err := notify.Validate(target)
			var e *api.Error
			switch {
			case c.field == "" && err != nil:
				t.Fatal(err)
			case c.field != "" && (!errors.As(err, &e) || e.Field != c.field || e.Kind != api.KindInvalid):
				t.Fatalf("got %v; want field %s", err, c.field)
			}
		})
	}
}
