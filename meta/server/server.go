package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/internal/backend"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/heartbeat"
	"github.com/ops-updater/ops-updater/meta/internal/httpapi"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
	"github.com/ops-updater/ops-updater/meta/internal/provider"
	"github.com/ops-updater/ops-updater/meta/internal/release"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// Server is an ops-meta that is ready to serve.
type Server struct {
	conf       Config
	log        zerolog.Logger
	store      *store.Store
	artifacts  *release.Store
	access     *httpapi.Access
	feed       *httpapi.Feed
	notifier   *notify.Sender
	backend    *backend.Backend
	provider   *provider.Provider // nil: there is none
	fleet      *fleet.Fleet
	urlGuessed atomic.Bool // publicUrl is made from this machine's name

	api         *httpapi.Server
	beats       *heartbeat.Handler
	metrics     *metrics
	handler     http.Handler
	listener    net.Listener
	connections *boundConnections
	certificate certificate
	readiness   readiness
	lock        *os.File
	mark        store.Mark // of the hosts as they were loaded
	token       string     // the first admin token, when this start made it
}

// Notice is told what a person who starts a server needs to know: its
// address, and its first admin token.
type Notice struct {
	URL        string
	AdminToken string // empty: there was one
	TokenFile  string
}

// Open opens and loads everything and starts to listen, but serves nothing
// yet.
func Open(ctx context.Context, conf Config, log zerolog.Logger) (*Server, error) {
	guessed := conf.guessesPublicURL()
	conf, err := conf.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{conf: conf, log: log, feed: &httpapi.Feed{}}
	s.urlGuessed.Store(guessed)
	steps := []func(context.Context) error{
		s.openData, s.openAccess, s.listen, s.openArtifacts, s.openNotify, s.openProvider, s.openFleet, s.buildHandler,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *Server) openAccess(ctx context.Context) error {
	proxies, err := s.conf.trustedNetworks()
	if err != nil {
		return err
	}
	s.access = httpapi.NewAccess(httpapi.AccessConfig{
		Tokens: s.store, OpenHeartbeats: s.conf.Heartbeats == HeartbeatsOpen, TrustedProxies: proxies,
		FailuresPerMin: s.conf.FailuresPerMin, EnrolPerMin: s.conf.EnrolPerMin,
	})
	s.token, err = s.backend.EnsureAdmin(ctx)
	return err
}

// listen comes before the fleet is compiled: port 0 is known only now.
func (s *Server) listen(ctx context.Context) error {
	conf, err := s.tlsConfig()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.conf.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", s.conf.Listen, err)
	}
	if s.conf.PublicURL == "" {
		host, _, _ := net.SplitHostPort(s.conf.Listen)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		s.conf.PublicURL = s.conf.ownURL(host, port)
	}
	watch := &acceptWatch{Listener: l, log: s.log}
	s.readiness.accepts = watch
	s.connections = newBoundConnections(watch, mostConnections(), s.access.Trusted)
	s.listener = s.connections
	if conf != nil {
		s.listener = tls.NewListener(s.connections, conf)
	}
	return nil
}

// openFleet loads what is wanted and every host.
func (s *Server) openFleet(ctx context.Context) (err error) {
	boundMemory()
	s.mark, err = s.backend.Open(ctx, backend.Parts{
		Access: s.access, Feed: s.feed, Artifacts: s.artifacts, Notifier: s.notifier, Provider: s.provider,
	}, s.conf.settings())
	s.fleet = s.backend.Fleet()
	s.readiness.log, s.readiness.store, s.readiness.fleet = s.log, s.store, s.fleet
	s.readiness.incoming = s.conf.path("artifacts", "incoming")
	return err
}

// Notice is what the person who started the server should read.
func (s *Server) Notice() Notice {
	return Notice{URL: s.URL(), AdminToken: s.token, TokenFile: s.conf.path(backend.AdminTokenFile)}
}

// URL is the address that the server listens on.
func (s *Server) URL() string {
	host, _, _ := net.SplitHostPort(s.conf.Listen)
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	return s.conf.ownURL(host, port)
}

// Handler is everything the server serves.
func (s *Server) Handler() http.Handler { return s.handler }

// close closes what was opened.
func (s *Server) close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.lock != nil {
		_ = os.Remove(s.conf.path("address"))
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
