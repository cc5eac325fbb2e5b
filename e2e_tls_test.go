package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A fleet whose ops-meta has a certificate of a private authority: ca_file is
// enough for heartbeats and for what they lead to.
func TestAPrivateAuthorityIsEnough(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: starts servers")
	}
	t.Parallel()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, bin: bin, dir: t.TempDir(), addr: freeAddr(t)}
	t.Cleanup(func() { killDaemons(s.dir) })
	cert, key := s.certificate()
	s.start("meta.log", "ops-meta", "serve", "--listen", s.addr, "--data", filepath.Join(s.dir, "meta"), "--tls-cert", cert, "--tls-key", key, "--heartbeats", "credential")
	token := filepath.Join(s.dir, "meta", "admin.token")
	run := func(args ...string) (string, error) {
		secret, _ := os.ReadFile(token)
		cmd := exec.Command(filepath.Join(bin, "ops-meta"), args...)
		cmd.Env = append(os.Environ(), "OPS_META_SERVER=https://"+s.addr, "OPS_META_CA="+cert, "OPS_META_TOKEN="+strings.TrimSpace(string(secret)))
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	must := func(args ...string) string {
		out, err := run(args...)
		if err != nil {
			t.Fatalf("ops-meta %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	s.eventually("an answer of ops-meta", func() bool { _, err := run("status"); return err == nil })
	must("publish", s.tarball("daemon", "1.0.0"))
	must("deploy", "falcon-agent", "1.0.0", "--now")
	credential := filepath.Join(s.dir, "credential")
	enrolment := must("token", "create", "enrolment", "--role", "enroll")
	secret := must("token", "enroll", "web-1", "--token", enrolment)
	cfg, _ := json.Marshal(map[string]any{
		"server": "https://" + s.addr, "ca_file": cert, "token_file": credential, "hostname": "web-1", "interval": 1, "probation": 1,
		"work_dir": filepath.Join(s.dir, "agents"), "var_dir": filepath.Join(s.dir, "var"),
	})
	for path, content := range map[string][]byte{credential: []byte(secret), filepath.Join(s.dir, "cfg.json"): cfg} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start("web-1.log", "ops-updater", "-c", filepath.Join(s.dir, "cfg.json"))
	s.eventually("the agent on web-1", func() bool {
		out, _ := run("hosts", "--agent", "falcon-agent", "--version", "1.0.0", "--status", "started")
		return strings.Contains(out, "web-1")
	})
}

// certificate writes one that vouches for itself, and its key.
func (s *stage) certificate() (cert, key string) {
	s.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ops-meta"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		s.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		s.t.Fatal(err)
	}
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(s.dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			s.t.Fatal(err)
		}
		return path
	}
	return write("meta.pem", "CERTIFICATE", der), write("meta.key", "PRIVATE KEY", secret)
}
