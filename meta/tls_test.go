package meta_test

import (
	"crypto/tls"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
)

func TestTLSIsVerifiedUnlessToldOtherwise(t *testing.T) {
	s := httptest.NewUnstartedServer(answer(oneAgent))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(s.Certificate().Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name   string
		config meta.ClientConfig
		works  bool
	}{
		{"system's authorities", meta.ClientConfig{}, false},
		{"ca_file", meta.ClientConfig{CAFile: ca}, true},
		{"insecure", meta.ClientConfig{Insecure: true}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.config.Servers = []string{s.URL}
			_, err := client(t, c.config).Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"})
			if (err == nil) != c.works {
				t.Fatalf("error %v; want success: %v", err, c.works)
			}
		})
	}
}

func TestClientCertificateIsShown(t *testing.T) {
	cert, key := certificate(t)
	s := httptest.NewUnstartedServer(answer(oneAgent))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	with := meta.ClientConfig{Servers: []string{s.URL}, Insecure: true, CertFile: cert, KeyFile: key}
	if _, err := client(t, with).Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"}); err != nil {
		t.Errorf("refused with the certificate: %v", err)
	}
	without := meta.ClientConfig{Servers: []string{s.URL}, Insecure: true}
	if _, err := client(t, without).Beat(t.Context(), meta.HeartbeatRequest{Hostname: "h"}); err == nil {
		t.Error("answered without the certificate")
	}
	if _, err := meta.NewClient(meta.ClientConfig{Servers: []string{s.URL}, CertFile: key, KeyFile: cert}); err == nil {
		t.Error("a certificate that is none was accepted")
	}
}
