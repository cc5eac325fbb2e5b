package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// A webhook's secret and address are for writing only: anyone who looks sees
// where it leads, and what is written back as it was read keeps both.
func TestAWebhooksSecretsAreSeenNowhere(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		signed := make(chan string, 10)
		receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			signed <- r.URL.Path + " " + strings.Repeat("signed", min(len(r.Header.Get("X-Ops-Meta-Signature")), 1))
		}))
		t.Cleanup(receiver.Close)
		r := start(t, conf)
		const secret, hook = "hunter2-hunter2", "/services/T0/B0/tellnobody"
		if _, err := r.admin.PutNotifyTarget(t.Context(), api.NotifyTarget{Name: "chat", Kind: api.NotifyWebhook, URL: receiver.URL + hook, Secret: secret}); err != nil {
			t.Fatal(err)
		}
		list, err := r.admin.NotifyTargets(t.Context(), api.ListOptions{})
		if err != nil || len(list.Items) != 1 || list.Items[0].URL != receiver.URL+"/…" || !list.Items[0].HasSecret {
			t.Fatalf("the list is %+v, %v", list.Items, err)
		}
		for name, change := range map[string]api.NotifyTarget{
			"written back as it was read": list.Items[0],
			"without either":              {Name: "chat", Kind: api.NotifyWebhook, Events: []string{"rollout."}},
		} {
			change.Revision = 0
			if _, err := r.admin.PutNotifyTarget(t.Context(), change); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := r.admin.TestNotifyTarget(t.Context(), "chat"); err != nil {
				t.Fatal(err)
			}
			if got := <-signed; got != hook+" signed" {
				t.Errorf("%s: the receiver gets %q", name, got)
			}
		}
		viewer := r.newToken(t, "viewer", api.RoleViewer, 0).Secret
		for _, token := range []string{viewer, r.token} {
			for _, path := range []string{"/notifications/targets", "/notifications/targets/chat", "/audit?limit=1000", "/fleet", "/notifications/dead"} {
				a := r.raw(t, http.MethodGet, "/api/v1"+path, nil, "Authorization", "Bearer "+token)
				if bytes.Contains(a.body, []byte(secret)) || bytes.Contains(a.body, []byte("tellnobody")) {
					t.Errorf("%s shows a secret: %s", path, a.body)
				}
			}
		}
		if page := string(r.page(t, r.token, "/settings").body); strings.Contains(page, "tellnobody") || !strings.Contains(page, "chat") {
			t.Error("the page shows the address, or not the target")
		}
		for name, bad := range map[string]api.NotifyTarget{
			"a new one without an address": {Name: "new", Kind: api.NotifyWebhook},
			"a new one as others are shown": {
				Name: "new", Kind: api.NotifyWebhook, URL: "https://chat.example/…",
			},
		} {
			if p := problem(second(r.admin.PutNotifyTarget(t.Context(), bad))); p == nil || p.Status != http.StatusBadRequest {
				t.Errorf("%s: got %v", name, p)
			}
		}
	})
}

// An address of a configuration file may carry a login, which hosts need:
// viewers, and the audit log, do not have it.
func TestALoginInAConfigurationsAddressIsForOperators(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		r.publish(t, "demo", "1.0.0")
		const address = "https://reader:hunter2@config.example/demo.json?token=tellnobody"
		const shown = "https://reader:xxxxx@config.example/demo.json?token=xxxxx"
		put := func(path string, body map[string]any) answer {
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			return r.raw(t, http.MethodPut, "/api/v1"+path, text, "Authorization", "Bearer "+r.token, "Content-Type", "application/json")
		}
		const agent, assignment = "/agents/demo", "/agents/demo/assignments/everyone"
		for path, body := range map[string]map[string]any{
			agent:      {"configFileName": "demo.json", "configRemoteUrl": address},
			assignment: {"version": "1.0.0", "configRemoteUrl": address},
		} {
			if a := put(path, body); a.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s", path, a.body)
			}
			body["configRemoteUrl"] = shown
			if a := put(path, body); a.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: written back as a viewer reads it: %s", path, a.body)
			}
		}
		viewer := r.newToken(t, "viewer", api.RoleViewer, 0).Secret
		get := func(path, token string) string {
			return string(r.raw(t, http.MethodGet, "/api/v1"+path, nil, "Authorization", "Bearer "+token).body)
		}
		for _, path := range []string{"/agents", agent, "/assignments", assignment, "/fleet", "/audit?limit=1000"} {
			for name, text := range map[string]string{"a viewer": get(path, viewer), "an admin": get(path, r.token)} {
				hidden := !strings.Contains(text, "hunter2") && !strings.Contains(text, "tellnobody")
				if want := name == "a viewer" || strings.HasPrefix(path, "/audit"); hidden != want {
					t.Errorf("%s shows %s with the login hidden: %t, want %t: %s", path, name, hidden, want, text)
				}
			}
		}
		if page := string(r.page(t, viewer, agent).body); strings.Contains(page, "hunter2") || !strings.Contains(page, "demo.json") {
			t.Error("the page shows the login, or not the file")
		}
	})
}

// page is how the page answers anyone who logs in with a token.
func (r *running) page(t testing.TB, token, path string) answer {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm(r.url+"/login", map[string][]string{"token": {token}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	for _, c := range resp.Cookies() {
		req.AddCookie(c)
	}
	page, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Body.Close()
	text, err := io.ReadAll(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{page, text}
}
