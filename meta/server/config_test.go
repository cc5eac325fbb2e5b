package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

func TestConfigComesFromFileAndEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ops-meta.yaml")
	text := "listen: 0.0.0.0:2001\ndata: /var/lib/ops-meta\ntrustedProxies: [10.0.0.0/8]\nforgetHosts: 60d\nkeepEvents: 30\ninterval: 90s\nsmtp:\n  addr: mail:25\noidc:\n  clientId: meta\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"OPS_META_LISTEN": ":9", "OPS_META_SMTP_FROM": "ops@example", "OPS_META_PUBLIC_URL": "https://x", "OPS_META_PPROF": "true", "OPS_META_INTERVAL": "2m",
		"OPS_META_OIDC_ISSUER": "https://login", "OPS_META_OIDC_CLIENT_SECRET_FILE": "s", "OPS_META_OIDC_ROLES": "ops=admin,team-a=operator:falcon-*@canary:demo@*",
	}
	var got server.Config
	if err := server.LoadConfig(path, &got); err != nil {
		t.Fatal(err)
	}
	if err := server.ReadEnv(func(name string) (string, bool) { v, ok := env[name]; return v, ok }, &got); err != nil {
		t.Fatal(err)
	}
	want := server.Config{
		Listen: ":9", Data: "/var/lib/ops-meta", TrustedProxies: []string{"10.0.0.0/8"}, PublicURL: "https://x",
		SMTP:  server.SMTP{Addr: "mail:25", From: "ops@example"},
		OIDC:  server.OIDC{Issuer: "https://login", ClientID: "meta", ClientSecretFile: "s", Roles: []string{"ops=admin", "team-a=operator:falcon-*@canary:demo@*"}},
		Pprof: true, Interval: 120, ForgetHosts: 60, KeepEvents: 30,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestConfigsThatAreRefused(t *testing.T) {
	good := server.Config{Data: "x"}
	for name, c := range map[string]struct {
		change func(*server.Config)
		says   string
	}{
		"no directory":             {func(c *server.Config) { c.Data = "" }, "no data directory"},
		"no port":                  {func(c *server.Config) { c.Listen = "localhost" }, "not host:port"},
		"a key without a cert":     {func(c *server.Config) { c.TLSKey = "k" }, "both a certificate and its key"},
		"a CA without TLS":         {func(c *server.Config) { c.ClientCA = "k" }, "both a certificate and its key"},
		"a cert that is not there": {func(c *server.Config) { c.TLSCert, c.TLSKey = "c", "k" }, "no such file"},
		"heartbeats half open":     {func(c *server.Config) { c.Heartbeats = "ajar" }, "ajar"},
		"a provider without URL":   {func(c *server.Config) { c.OIDC.ClientID = "c" }, "oidc.issuer is missing"},
		"one without its secret":   {func(c *server.Config) { c.OIDC = server.OIDC{Issuer: "https://l", ClientSecretFile: "/nowhere"} }, "cannot read oidc.clientSecretFile"},
		"one that lets nobody in":  {func(c *server.Config) { c.OIDC = server.OIDC{Issuer: "https://l", ClientID: "c"} }, "nobody could log in"},
		"a role that there is not": {func(c *server.Config) {
			c.OIDC = server.OIDC{Issuer: "https://l", ClientID: "c", Roles: []string{"g=root"}}
		}, "gives no role to a person"},
		"a proxy that is none": {func(c *server.Config) { c.TrustedProxies = []string{"proxy"} }, "neither an address nor a network"},
	} {
		conf := good
		c.change(&conf)
		if err := conf.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.says)
		}
	}
	path := filepath.Join(t.TempDir(), "ops-meta.yaml")
	for text, says := range map[string]string{
		"listne: x": `[1:1] unknown field "listne"`, "data: [": "[1:", "smtp: {adr: x}": "unknown field",
		`{"interval": "often"}`: `[1:14] "often" is not a time such as 90s`, "interval: -5": "[1:11] -5 must not be negative", "forgetHosts: 36h": `"36h" is not a whole number of days`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var c server.Config
		err := server.LoadConfig(path, &c)
		if err == nil || !strings.Contains(err.Error(), says) || api.KindOf(err) != api.KindInvalid {
			t.Errorf("%s: got %v, want it to say %q", text, err, says)
		}
	}
}

// Heartbeats are open by themselves on a loopback address only.
func TestHeartbeatsAreOpenOnLoopbackOnly(t *testing.T) {
	for listen, status := range map[string]int{"127.0.0.1:0": 200, "localhost:0": 200, "0.0.0.0:0": 401, ":0": 401} {
		conf := newConfig(t)
		conf.Listen = listen
		r := start(t, conf)
		_, port, _ := strings.Cut(strings.TrimPrefix(r.url, "http://"), ":")
		r.url = "http://127.0.0.1:" + port[strings.LastIndex(port, ":")+1:]
		if got := r.raw(t, "POST", "/api/heartbeat", []byte(`{"hostname":"h"}`), "Authorization", ""); got.StatusCode != status {
			t.Errorf("listening on %s: got %d, want %d", listen, got.StatusCode, status)
		}
	}
}
