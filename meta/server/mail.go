package server

import (
	"context"
	"net"
	"strconv"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
	"github.com/ops-updater/ops-updater/meta/internal/release"
)

// openNotify makes ready what tells people.
func (s *Server) openNotify(context.Context) error {
	mail, err := s.conf.SMTP.mailServer()
	if err != nil {
		return err
	}
	s.notifier = notify.New(notify.Config{
		Outbox: s.store, Log: s.log, SMTP: mail, UserAgent: "ops-meta/" + buildinfo.Version(),
		Control: release.DenyNetworks(release.DefaultDeny()),
		Targets: s.backend.EveryNotifyTarget,
	})
	return nil
}

var tlsModes = map[string]string{"": "mandatory", "starttls": "mandatory", "tls": "implicit", "none": "none"}

// mailServer is nil without a mail server.
func (c SMTP) mailServer() (*notify.SMTP, error) {
	if c.Addr == "" {
		return nil, nil
	}
	host, text, err := net.SplitHostPort(c.Addr)
	port, portErr := strconv.Atoi(text)
	if err != nil || portErr != nil {
		return nil, api.InvalidField("smtp.addr", "smtp.addr %q is not host:port", c.Addr)
	}
	mode, known := tlsModes[c.TLS]
	if !known {
		return nil, api.InvalidField("smtp.tls", "smtp.tls %q is not known: want starttls, tls or none", c.TLS)
	}
	if c.From == "" {
		return nil, api.InvalidField("smtp.from", "smtp.from is missing: say which address mail comes from")
	}
	return &notify.SMTP{Host: host, Port: port, From: c.From, User: c.User, Password: c.Password, TLS: mode}, nil
}
