package notify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"mime"
	"net"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
)

// sink is a mail server that keeps what it gets.
type sink struct {
	mu      sync.Mutex
	got     []letter
	busy    int    // temporary refusals still to give
	unknown string // an address that it does not have
	trust   *tls.Config
	port    int
}

type letter struct {
	from, to, user string
	tls            bool
	*mail.Message
	text string
}

func newSink(t *testing.T, implicit bool) *sink {
	t.Helper()
	s := &sink{}
	cert, pool := selfSigned(t)
	s.trust = &tls.Config{RootCAs: pool}
	server := smtp.NewServer(s)
	server.Domain = "localhost"
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.AllowInsecureAuth = false
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if implicit {
		l = tls.NewListener(l, server.TLSConfig)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return s
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func (s *sink) letters() []letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// NewSession implements smtp.Backend.
func (s *sink) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{sink: s, conn: c}, nil
}

type session struct {
	sink *sink
	conn *smtp.Conn
	now  letter
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "pass word" {
			return smtp.ErrAuthFailed
		}
		s.now.user = user
		return nil
	}), nil
}

func (s *session) Reset()        { s.now = letter{user: s.now.user} }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.now.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	switch {
	case to == s.sink.unknown:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	case s.sink.busy > 0:
		s.sink.busy--
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "greylisted, come back"}
	}
	s.now.to = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	_, s.now.tls = s.conn.TLSConnectionState()
	text, err := io.ReadAll(m.Body)
	if err != nil {
		return err
	}
	s.now.Message, s.now.text = m, string(text)
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.got = append(s.sink.got, s.now)
	return nil
}

func (s *sink) smtp(mode string) *notify.SMTP {
	return &notify.SMTP{Host: "127.0.0.1", Port: s.port, From: "Ops Meta <ops@example.com>", TLS: mode, Trust: s.trust, User: "mailer", Password: "pass word"}
}

func team(addresses ...string) api.NotifyTarget {
	return api.NotifyTarget{Name: "team", Kind: api.NotifyMail, Addresses: addresses}
}

func TestMailArrives(t *testing.T) {
	for _, c := range []struct {
		mode     string
		implicit bool
	}{{"mandatory", false}, {"implicit", true}} {
		t.Run(c.mode, func(t *testing.T) {
			s := newSink(t, c.implicit)
			o := newOffice(t, team("alice@example.com", "bob@example.com"))
			o.owe(t, paused)
			o.run(t, func(n *notify.Config) { n.SMTP = s.smtp(c.mode) })
			eventually(t, "a mail to each", func() bool { return len(s.letters()) == 2 })
			to := map[string]letter{}
			for _, l := range s.letters() {
				to[l.to] = l
			}
			alice, bob := to["alice@example.com"], to["bob@example.com"]
			subject, err := new(mime.WordDecoder).DecodeHeader(alice.Header.Get("Subject"))
			if err != nil || subject != "[ops-meta] rollout.paused falcon-agent 5.1.3" {
				t.Errorf("subject %q, %v", subject, err)
			}
			if alice.from != "ops@example.com" || alice.user != "mailer" || !alice.tls || alice.Header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("got %+v", alice)
			}
			if id := alice.Header.Get("Message-ID"); id == "" || id == bob.Header.Get("Message-ID") || !strings.HasSuffix(id, "@example.com>") {
				t.Errorf("message ID %q, and %q of the other", id, bob.Header.Get("Message-ID"))
			}
			for _, part := range []string{"1 of 2 hosts failed", "too-many-failures", "https://ops-meta.example/rollouts/r1", "Stage 0: 2 granted, 1 succeeded, 1 failed, of 10"} {
				if !strings.Contains(strings.ReplaceAll(alice.text, "=\r\n", ""), part) {
					t.Errorf("no %q in\n%s", part, alice.text)
				}
			}
		})
	}
}

func TestMailIsTriedAgainOrGivenUp(t *testing.T) {
	s := newSink(t, false)
	s.busy, s.unknown = 2, "gone@example.com"
	o := newOffice(t, team("gone@example.com", "alice@example.com"))
	o.owe(t, paused)
	o.run(t, func(n *notify.Config) { n.SMTP = s.smtp("mandatory") })
	eventually(t, "the mail after being greylisted", func() bool { return len(s.letters()) == 1 })
	eventually(t, "giving up the address that is unknown", func() bool { return len(o.dead(t)) == 1 })
	if d := o.dead(t)[0]; d.Target != "team/gone@example.com" || d.Attempts != 1 || !strings.Contains(d.Error, "no such user") {
		t.Errorf("got %+v", d)
	}
	if l := s.letters(); l[0].to != "alice@example.com" {
		t.Errorf("sent to %s", l[0].to)
	}
}

func TestMailIsNotSentInTheClearOrToAStranger(t *testing.T) {
	s := newSink(t, false)
	cases := []struct {
		name   string
		change func(*notify.SMTP)
		says   string
	}{
		{"a certificate nobody vouches for", func(m *notify.SMTP) { m.Trust = nil }, "certificate"},
		{"the password in the clear", func(m *notify.SMTP) { m.TLS = "none" }, "auth"},
		{"a wrong password", func(m *notify.SMTP) { m.Password = "guess" }, "auth"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := s.smtp("mandatory")
			c.change(server)
			o := newOffice(t, team("alice@example.com"))
			o.owe(t, paused)
			o.run(t, func(n *notify.Config) { n.SMTP = server })
			eventually(t, "giving up", func() bool { return len(o.dead(t)) == 1 })
			d := o.dead(t)[0]
			if !strings.Contains(strings.ToLower(d.Error), c.says) || strings.Contains(d.Error, "pass word") {
				t.Errorf("got %q; want %q", d.Error, c.says)
			}
		})
	}
	if l := s.letters(); len(l) != 0 {
		t.Errorf("sent %+v", l)
	}
}

func TestSubjectsCannotAddHeaders(t *testing.T) {
	s := newSink(t, false)
	target := team("alice@example.com")
	target.Subject = "{{.Message}}"
	n := notify.Test(time.Now(), "me")
	n.Message = "hello\r\nBcc: eve@example.com\n\nbody"
	o := newOffice(t, target)
	o.owe(t, n)
	o.run(t, func(c *notify.Config) { c.SMTP = s.smtp("mandatory") })
	eventually(t, "the mail", func() bool { return len(s.letters()) == 1 })
	l := s.letters()[0]
	if l.Header.Get("Bcc") != "" || l.Header.Get("Subject") != "hello Bcc: eve@example.com body" {
		t.Errorf("got %v", l.Header)
	}
}
