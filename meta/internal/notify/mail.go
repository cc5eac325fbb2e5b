package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/ops-updater/ops-updater/meta/api"
)

// SMTP says how mail leaves.
type SMTP struct {
	Host     string
	Port     int
	User     string
	Password string
	From     string
	TLS      string      // mandatory (STARTTLS), implicit, none
	Trust    *tls.Config // nil: the system's authorities
}

// newClient is for one delivery: mail is rare, and connections that idle break.
func (s SMTP) newClient(timeout time.Duration) (*mail.Client, error) {
	trust := s.Trust
	if trust == nil {
		trust = &tls.Config{}
	}
	trust = trust.Clone()
	trust.ServerName, trust.MinVersion = s.Host, tls.VersionTLS12
	opts := []mail.Option{mail.WithPort(s.Port), mail.WithTimeout(timeout), mail.WithTLSConfig(trust)}
	switch s.TLS {
	case "implicit":
		opts = append(opts, mail.WithSSL())
	case "none":
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	default:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if s.User != "" {
		opts = append(opts, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.User), mail.WithPassword(s.Password))
	}
	return mail.NewClient(s.Host, opts...)
}

// deliverMail writes to one address.
func (s SMTP) deliverMail(ctx context.Context, t api.NotifyTarget, address string, n api.Notice, timeout time.Duration) *failure {
	msg, err := s.composeMail(t, address, n)
	if err != nil {
		return &failure{err: err, permanent: true}
	}
	client, err := s.newClient(timeout)
	if err != nil {
		return &failure{err: fmt.Errorf("cannot use the mail server: %w", err), permanent: true}
	}
	if err := client.DialAndSendWithContext(ctx, msg); err != nil {
		var send *mail.SendError
		permanent := errors.As(err, &send) && !send.IsTemp() && send.ErrorCode() >= 500
		return &failure{err: fmt.Errorf("cannot send mail to %s through %s: %w", address, net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), err), permanent: permanent}
	}
	return nil
}

func (s SMTP) composeMail(t api.NotifyTarget, address string, n api.Notice) (*mail.Msg, error) {
	line, err := subjectOf(t, n)
	if err != nil {
		return nil, err
	}
	content, err := textOf(t, n)
	if err != nil {
		return nil, err
	}
	msg := mail.NewMsg()
	if err := errors.Join(msg.From(s.From), msg.To(address)); err != nil {
		return nil, err
	}
	msg.Subject(line)
	msg.SetDateWithValue(n.Time)
	_, domain, _ := strings.Cut(msg.GetFromString()[0], "@")
	msg.SetMessageIDWithValue(fmt.Sprintf("%x@%s", sha256.Sum256([]byte(n.ID+"\x00"+address)), strings.Trim(domain, "<>")))
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // no out-of-office replies
	msg.SetGenHeader("X-Ops-Meta-Event", headerSafe(n.Event))
	msg.SetBodyString(mail.TypeTextPlain, content)
	return msg, nil
}
