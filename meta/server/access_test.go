package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

// A credential in a name that no report may have would be of no use.
func TestEnrolmentRefusesNamesThatCannotReport(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		fleet := r.as(t, r.newToken(t, "fleet", api.RoleEnroll, 0).Secret)
		for _, name := range []string{"", " ", ".", "..", "../h", "a/b", "a?b", "h\u202e", "a b", strings.Repeat("h", 254)} {
			if p := problem(second(fleet.Enroll(t.Context(), api.Enrolment{Hostname: name}))); p == nil || p.Status != http.StatusBadRequest {
				t.Errorf("%q: got %v, want it refused", name, p)
			}
		}
		if c, err := fleet.Enroll(t.Context(), api.Enrolment{Hostname: " h-1\n"}); err != nil || c.Hostname != "h-1" {
			t.Errorf("got %+v, %v, want a credential for h-1", c.Hostname, err)
		}
	})
}

func (r *running) newToken(t testing.TB, name string, role api.Role, ttl int64) api.Token {
	t.Helper()
	token, err := r.admin.CreateToken(t.Context(), api.NewToken{Name: name, Role: role, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestATokenThatIsNoGoodIsToldWhy(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		short, gone := r.newToken(t, "short", api.RoleViewer, 1), r.newToken(t, "gone", api.RoleViewer, 0)
		if err := second(r.as(t, gone.Secret).WhoAmI(t.Context())); err != nil {
			t.Fatalf("a fresh token is refused: %v", err)
		}
		if err := r.admin.DeleteToken(t.Context(), gone.ID); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct{ secret, says string }{
			"none":    {"", "a token is needed"},
			"unknown": {"om_nobody", "not known"},
			"removed": {gone.Secret, "not known"},
		} {
			p := problem(second(r.as(t, c.secret).WhoAmI(t.Context())))
			if p == nil || p.Status != http.StatusUnauthorized || !strings.Contains(p.Detail, c.says) || p.Hint == "" {
				t.Errorf("%s: got %+v, want a 401 that says %q, with a hint", name, p, c.says)
			}
		}
		within(t, func() bool { return problem(second(r.as(t, short.Secret).WhoAmI(t.Context()))) != nil })
		p := problem(second(r.as(t, short.Secret).WhoAmI(t.Context())))
		if p.Status != http.StatusUnauthorized || !strings.Contains(p.Detail, "short expired at") {
			t.Errorf("expired: got %+v", p)
		}
		a := r.raw(t, http.MethodGet, "/api/v1/whoami", nil, "Authorization", "Bearer "+short.Secret)
		if a.Header.Get("WWW-Authenticate") == "" || a.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("401 has the headers %v", a.Header)
		}
	})
}

// within waits for a condition, generously.
func within(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("did not happen in time")
		}
	}
}

func TestRolesMayDoWhatTheyMay(t *testing.T) {
	r := start(t, newConfig(t))
	tries := map[string]struct {
		call func(*api.Client) error
		may  map[api.Role]bool
	}{
		"see": {
			func(c *api.Client) error { return second(c.Hosts(t.Context(), api.HostQuery{})) },
			map[api.Role]bool{api.RoleViewer: true, api.RoleOperator: true, api.RoleAdmin: true},
		},
		"say": {
			func(c *api.Client) error { return second(c.PutAgent(t.Context(), api.Agent{Name: "a"})) },
			map[api.Role]bool{api.RoleOperator: true, api.RoleAdmin: true},
		},
		"care": {
			func(c *api.Client) error { return second(c.Doctor(t.Context())) },
			map[api.Role]bool{api.RoleAdmin: true},
		},
		"enrol": {
			func(c *api.Client) error { return second(c.Enroll(t.Context(), api.Enrolment{Hostname: "h"})) },
			map[api.Role]bool{api.RoleEnroll: true},
		},
	}
	for _, role := range []api.Role{api.RoleViewer, api.RoleOperator, api.RoleAdmin, api.RoleEnroll} {
		c := r.as(t, r.newToken(t, "a-"+string(role), role, 0).Secret)
		for name, try := range tries {
			err := try.call(c)
			if p := problem(err); try.may[role] != (err == nil) || err != nil && (p == nil || p.Status != http.StatusForbidden) {
				t.Errorf("%s wants to %s: got %v, may: %v", role, name, err, try.may[role])
			}
		}
	}
}

func TestWrongTokensAreHeldBack(t *testing.T) {
	conf := newConfig(t)
	conf.FailuresPerMin = 3
	r := start(t, conf)
	if err := second(r.admin.WhoAmI(t.Context())); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_ = second(r.as(t, "om_guess").WhoAmI(t.Context()))
	}
	a := r.raw(t, http.MethodGet, "/api/v1/whoami", nil, "Authorization", "Bearer om_another-guess")
	if a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("the fourth guess got %d %v", a.StatusCode, a.Header)
	}
	if err := second(r.admin.WhoAmI(t.Context())); err != nil {
		t.Errorf("a token in use is held back by somebody's guesses: %v", err)
	}
}

func TestEnrolment(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		conf.Heartbeats, conf.EnrolPerMin = server.HeartbeatsCredential, 5
		r := start(t, conf)
		fleet := r.as(t, r.newToken(t, "fleet", api.RoleEnroll, 0).Secret)
		first, err := fleet.Enroll(t.Context(), api.Enrolment{Hostname: "h-1"})
		if err != nil {
			t.Fatal(err)
		}
		beat := func(credential, host string) int {
			_, status := r.heartbeat(t, credential, meta.HeartbeatRequest{Hostname: host})
			return status
		}
		// The reply may have been lost: the same token may ask again for a
		// while, but only until the credential is used.
		lost := first
		if first, err = fleet.Enroll(t.Context(), api.Enrolment{Hostname: "h-1"}); err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string][2]int{
			"its own":       {beat(first.Secret, "h-1"), http.StatusOK},
			"another's":     {beat(first.Secret, "h-2"), http.StatusForbidden},
			"none":          {beat("", "h-1"), http.StatusUnauthorized},
			"an operator's": {beat(r.token, "h-1"), http.StatusForbidden},
		} {
			if got[0] != got[1] {
				t.Errorf("a heartbeat with %s credential got %d, want %d", name, got[0], got[1])
			}
		}
		if got := beat(lost.Secret, "h-1"); got != http.StatusUnauthorized {
			t.Errorf("after enrolling again the first credential gets %d", got)
		}
		if p := problem(second(fleet.Enroll(t.Context(), api.Enrolment{Hostname: "h-1"}))); p == nil || p.Status != http.StatusConflict || beat(first.Secret, "h-1") != http.StatusOK {
			t.Errorf("the shared token took over a host that works, or locked it out: %v", p)
		}
		other := r.as(t, r.newToken(t, "other", api.RoleEnroll, 0).Secret)
		if p := problem(second(other.Enroll(t.Context(), api.Enrolment{Hostname: "h-1"}))); p == nil || p.Status != http.StatusConflict {
			t.Errorf("another token took over a host: %v", p)
		}
		if p := problem(second(other.Enroll(t.Context(), api.Enrolment{Hostname: "a b"}))); p == nil || p.Status != http.StatusBadRequest {
			t.Errorf("a host without a proper name got %v", p)
		}
		if p := problem(second(other.Enroll(t.Context(), api.Enrolment{Hostname: "h-9"}))); p == nil || p.Status != http.StatusTooManyRequests {
			t.Errorf("the sixth enrolment in a minute got %v", p)
		}
		if err := r.admin.DeleteHost(t.Context(), "h-1"); err != nil {
			t.Fatal(err)
		}
		if beat(first.Secret, "h-1") != http.StatusUnauthorized {
			t.Error("a forgotten host's credential still counts")
		}
	})
}

// A host that enrolled and was then lost can be seen, and made room for.
func TestAHostThatEnrolledAndNeverReported(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		conf.Heartbeats = server.HeartbeatsCredential
		r := start(t, conf)
		fleet, other := r.as(t, r.newToken(t, "fleet", api.RoleEnroll, 0).Secret), r.as(t, r.newToken(t, "other", api.RoleEnroll, 0).Secret)
		if err := second(fleet.Enroll(t.Context(), api.Enrolment{Hostname: "lost"})); err != nil {
			t.Fatal(err)
		}
		list, err := r.admin.Credentials(t.Context(), api.ListOptions{})
		if err != nil || len(list.Items) != 1 || list.Items[0].Host != "lost" || list.Items[0].LastUsed != nil || list.Items[0].Secret != "" {
			t.Errorf("the credentials are %+v, %v", list.Items, err)
		}
		if p := problem(second(other.Enroll(t.Context(), api.Enrolment{Hostname: "lost"}))); p == nil || p.Status != http.StatusConflict {
			t.Errorf("another token enrolled it: %v", p)
		}
		if err := r.admin.DeleteHost(t.Context(), "lost"); err != nil {
			t.Fatalf("it cannot be forgotten: %v", err)
		}
		if p := problem(r.admin.DeleteHost(t.Context(), "lost")); p == nil || p.Status != http.StatusNotFound {
			t.Errorf("forgotten twice: %v", p)
		}
		if err := second(other.Enroll(t.Context(), api.Enrolment{Hostname: "lost"})); err != nil {
			t.Errorf("it cannot enrol again: %v", err)
		}
	})
}

func TestOnlyATrustedProxyIsBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		trusted []string
		from    string
	}{
		"nobody is trusted":    {nil, "127.0.0.1"},
		"the proxy is trusted": {[]string{"127.0.0.1"}, "198.51.100.7"},
		"both proxies are":     {[]string{"127.0.0.0/8", "198.51.100.0/24"}, "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := newConfig(t)
			conf.TrustedProxies = c.trusted
			r := start(t, conf)
			a := r.raw(t, http.MethodGet, "/api/v1/whoami", nil, "X-Forwarded-For", "192.0.2.66, 203.0.113.9, 198.51.100.7")
			var id api.Identity
			if err := json.Unmarshal(a.body, &id); err != nil || id.From != c.from {
				t.Errorf("got %s, want it to be from %s", a.body, c.from)
			}
		})
	}
}

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{ca, key, t.TempDir()}
	a.write(t, "ca.pem", "CERTIFICATE", der)
	return a
}

func (a authority) write(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue writes NAME.pem and NAME.key.
func (a authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, name+".pem", "CERTIFICATE", der)
	a.write(t, name+".key", "EC PRIVATE KEY", private)
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestTLSAndClientCertificates(t *testing.T) {
	ca := newAuthority(t)
	ca.issue(t, "server")
	conf := newConfig(t)
	conf.TLSCert, conf.TLSKey = filepath.Join(ca.dir, "server.pem"), filepath.Join(ca.dir, "server.key")
	conf.ClientCA, conf.Heartbeats = filepath.Join(ca.dir, "ca.pem"), server.HeartbeatsCredential
	r := start(t, conf)
	if !strings.HasPrefix(r.url, "https://") {
		t.Fatalf("the address is %s", r.url)
	}
	roots := x509.NewCertPool()
	pemData, _ := os.ReadFile(filepath.Join(ca.dir, "ca.pem"))
	roots.AppendCertsFromPEM(pemData)
	beat := func(cert *tls.Certificate) int {
		conf := &tls.Config{RootCAs: roots}
		if cert != nil {
			conf.Certificates = []tls.Certificate{*cert}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
		resp, err := client.Post(r.url+meta.PathV1, "application/json", strings.NewReader(`{"hostname":"h-1"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	own, other := ca.issue(t, "h-1"), ca.issue(t, "h-2")
	if got := [3]int{beat(&own), beat(&other), beat(nil)}; got != [3]int{200, 401, 401} {
		t.Errorf("heartbeats with its own, another's and no certificate got %v", got)
	}
	// A renewed certificate is taken while the server runs.
	before := presented(t, r.url, roots)
	ca.issue(t, "server")
	if _, err := r.Reload(context.Background(), conf); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(before, presented(t, r.url, roots)) {
		t.Error("the old certificate is still presented after a reload")
	}
}

// presented is the server's certificate.
func presented(t *testing.T, url string, roots *x509.CertPool) []byte {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Raw
}
