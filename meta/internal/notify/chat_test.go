package notify_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
)

func TestAChatGetsAMessageThatItUnderstands(t *testing.T) {
	r := newReceiver(t, http.StatusServiceUnavailable)
	target := hook(r)
	target.Kind, target.Secret = api.NotifyChat, ""
	plain := target
	plain.Name, plain.Template = "plain", "{{.Agent}} <{{.Version}}>"
	o := newOffice(t, target, plain)
	n := failed("web-1")
	n.Agent, n.Version, n.Message, n.Link = "falcon", "1.2.0", "falcon <1.2.0> & co failed", "https://ops-meta.example/hosts/web-1"
	o.owe(t, n)
	o.run(t, nil)
	type message struct {
		Text        string
		Attachments []struct {
			Color  string
			Fields []struct{ Title, Value string }
		}
	}
	var got []message
	eventually(t, "both messages, one of them again", func() bool {
		got = nil
		for _, d := range r.deliveries() {
			var m message
			if err := json.Unmarshal(d.body, &m); err != nil {
				t.Fatalf("%s: %v", d.body, err)
			}
			got = append(got, m)
		}
		return len(got) >= 3
	})
	texts := map[string]message{}
	for _, m := range got {
		texts[m.Text] = m
	}
	if _, ok := texts["falcon <1.2.0>"]; !ok {
		t.Errorf("no message of the template: %+v", got)
	}
	m, ok := texts["falcon &lt;1.2.0&gt; &amp; co failed <https://ops-meta.example/hosts/web-1|look>"]
	if !ok || len(m.Attachments) != 1 || m.Attachments[0].Color != "danger" || m.Attachments[0].Fields[0].Value != "falcon 1.2.0" {
		t.Errorf("the message is %+v", got)
	}
}

func TestWhatAChatRefusesIsNotTriedAgain(t *testing.T) {
	r := newReceiver(t, http.StatusNotFound)
	target := hook(r)
	target.Kind = api.NotifyChat
	o := newOffice(t, target)
	o.owe(t, failed("web-1"))
	o.run(t, nil)
	eventually(t, "it is given up", func() bool { return len(o.dead(t)) == 1 })
	if n := o.dead(t)[0]; !strings.Contains(n.Error, "404") || strings.Contains(n.Error, target.URL) || n.Attempts != 1 {
		t.Errorf("given up: %+v", n)
	}
}

func TestWebhooksAreSignedAsStandardWebhooks(t *testing.T) {
	for name, secret := range map[string]string{"any text": "s3cret", "as they write it": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			target := hook(r)
			target.Secret = secret
			o := newOffice(t, target)
			o.owe(t, failed("web-1"))
			o.run(t, nil)
			eventually(t, "it is delivered", func() bool { return len(r.deliveries()) == 1 })
			d := r.deliveries()[0]
			key, err := standardwebhooks.NewWebhookRaw([]byte(secret))
			if strings.HasPrefix(secret, "whsec_") {
				key, err = standardwebhooks.NewWebhook(secret)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := key.Verify(d.body, d.header); err != nil {
				t.Errorf("%v: %v", d.header, err)
			}
			if err := key.Verify(append(d.body, ' '), d.header); err == nil {
				t.Error("another body has the same signature")
			}
			if err := verify(secret, d.header, d.body, time.Now(), time.Minute); err != nil {
				t.Errorf("our own signature: %v", err)
			}
		})
	}
	bad := api.NotifyTarget{Name: "x", Kind: api.NotifyWebhook, URL: "http://127.0.0.1:9/", Secret: "whsec_no base64"}
	if err := notify.Validate(bad); err == nil || !strings.Contains(err.Error(), "base64") {
		t.Errorf("a secret that is none: %v", err)
	}
}
