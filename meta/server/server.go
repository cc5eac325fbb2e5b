package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/backend"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/heartbeat"
	"github.com/ops-updater/ops-updater/meta/internal/httpapi"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
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
		s.openData, s.openAccess, s.listen, s.openArtifacts, s.openNotify, s.openFleet, s.buildHandler,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

// openData opens the directory and the database. Without PostgreSQL the
// directory belongs to one server at a time.
func (s *Server) openData(ctx context.Context) error {
	if err := os.MkdirAll(s.conf.Data, 0o700); err != nil {
		return fmt.Errorf("cannot make data directory: %w", err)
	}
	var err error
	if s.lock, err = lockData(s.conf.Data); err != nil {
		return err
	}
	s.sweepLeftovers()
	if s.store, err = store.Open(ctx, storeConfig(s.conf)); err != nil {
		return err
	}
	s.backend = backend.New(backend.Config{
		Data: s.conf.Data, KeepEvents: int(s.conf.KeepEvents), ForgetHosts: int(s.conf.ForgetHosts), Shared: s.conf.DB != "",
	}, s.store, s.log)
	if s.conf.DB != "" {
		return nil
	}
	return s.store.EndLeases(ctx, s.backend.OpenClock()) // the directory is ours: whoever held one is gone
}

func storeConfig(conf Config) store.Config {
	if conf.DB != "" {
		return store.Config{DSN: conf.DB}
	}
	return store.Config{Dir: conf.Data}
}

// sweepLeftovers removes what a backup or a restore that was killed has left:
// copies of the database and of artifacts. The directory is ours alone.
func (s *Server) sweepLeftovers() {
	for _, path := range sweepRestores(s.conf.Data) {
		s.log.Warn().Str("directory", path).Msg("removed what an interrupted restore left: it had restored nothing; restore again, into a new directory if a server has run in this one since")
	}
	for _, pattern := range []string{s.conf.path(".backup-*"), s.conf.path("artifacts", ".restore-*")} {
		left, _ := filepath.Glob(pattern) // the pattern is well formed
		for _, path := range left {
			err := os.Remove(path)
			s.log.Info().Err(err).Str("file", path).Msg("removed what an interrupted backup or restore left")
		}
	}
}

// lockFile is locked by whoever uses a data directory.
const lockFile = "ops-meta.lock"

// lockData takes the directory; the lock ends with the process.
func lockData(dir string) (*os.File, error) {
	f, err := plainfile.Lockable(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, backend.HintOddFile(fmt.Errorf("cannot lock data directory: %w", err), backend.HintMakesOwn)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, &api.Error{
			Kind: api.KindConflict, Message: "another ops-meta uses the data directory " + dir,
			Hint: "stop it first; several servers share a PostgreSQL (--db), each with a directory of its own",
		}
	}
	return f, nil
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

// tlsConfig is nil for plain HTTP.
func (s *Server) tlsConfig() (*tls.Config, error) {
	if s.conf.TLSCert == "" {
		return nil, nil
	}
	if err := s.certificate.loadPair(s.conf); err != nil {
		return nil, err
	}
	conf := &tls.Config{GetCertificate: s.certificate.currentPair, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if s.conf.ClientCA == "" {
		return conf, nil
	}
	pem, err := plainfile.ReadLinked(s.conf.ClientCA, meta.MaxCertificates)
	if err != nil {
		return nil, fmt.Errorf("cannot read the clients' certificate authority: %w", err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cannot use the clients' certificate authority %s: there is no PEM certificate in it", s.conf.ClientCA)
	}
	conf.ClientAuth = tls.VerifyClientCertIfGiven
	return conf, nil
}

// openFleet loads what is wanted and every host.
func (s *Server) openFleet(ctx context.Context) (err error) {
	boundMemory()
	s.mark, err = s.backend.Open(ctx, backend.Parts{
		Access: s.access, Feed: s.feed, Artifacts: s.artifacts, Notifier: s.notifier,
	}, s.conf.settings())
	s.fleet = s.backend.Fleet()
	s.readiness.log, s.readiness.store, s.readiness.fleet = s.log, s.store, s.fleet
	s.readiness.incoming = s.conf.path("artifacts", "incoming")
	return err
}

// Notice is what whoever started the server should read.
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

// Limits of connections.
const (
	headerTimeout  = 10 * time.Second
	requestTimeout = time.Minute // large bodies and long replies move it on
	idleTimeout    = 11 * time.Minute
	maxHeader      = 64 << 10
	drainTimeout   = 20 * time.Second
)

// Run serves until the context ends, then finishes what is under way and
// saves everything acknowledged.
func (s *Server) Run(ctx context.Context) error {
	s.tellSettings()
	background, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLoops()
	var loops sync.WaitGroup
	fleetDone := s.startLoops(background, &loops)
	srv := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: quietLog(s.log), ConnState: s.connections.watchState,
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s.listener) }()
	if err := atomicfile.Write(s.conf.path("address"), []byte(s.URL()+"\n"), 0o644); err != nil {
		s.log.Warn().Err(err).Msg("the file with this server's address is not right")
	}
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		s.log.Info().Msg("stopping: finishing what is under way")
		err = s.finishRequests(srv)
	}
	stopLoops()
	loops.Wait()
	s.readiness.running.Wait()
	return errors.Join(err, <-fleetDone, s.close())
}

// finishRequests ends the change feeds and lets other requests finish.
func (s *Server) finishRequests(srv *http.Server) error {
	s.feed.Close()
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	err := srv.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn().Msg("some requests did not finish in time and were broken off")
		return srv.Close()
	}
	return err
}

// startLoops starts everything that runs beside the requests. The fleet's
// result comes through the channel when it has saved its last.
func (s *Server) startLoops(ctx context.Context, loops *sync.WaitGroup) <-chan error {
	fleetDone := make(chan error, 1)
	go func() { fleetDone <- s.fleet.Run(ctx) }()
	changes, last := s.store.Watch(ctx), s.backend.LastAudit(ctx)
	if err := s.backend.Refresh(ctx, 0); err != nil {
		s.log.Warn().Err(err).Msg("cannot read what is wanted")
	}
	loops.Go(func() { s.warnOfGuessedURL(ctx) })
	loops.Go(s.returnMemory)
	loops.Go(func() { s.followChanges(ctx, changes, last) })
	loops.Go(func() { s.backend.Rollouts().Run(ctx) })
	loops.Go(func() { s.notifier.Run(ctx) })
	loops.Go(func() { every(ctx, holdsEvery, func() { s.backend.EndHolds(ctx) }) })
	loops.Go(func() {
		every(ctx, tokensEvery, func() { s.backend.TouchTokens(ctx) })
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), headerTimeout)
		defer cancel()
		s.backend.TouchTokens(last)
	})
	loops.Go(func() { every(ctx, backend.SampleEvery, func() { s.backend.Sample(ctx) }) })
	loops.Go(func() { every(ctx, backend.CleanEvery, func() { s.backend.Clean(ctx) }) })
	if s.conf.DB != "" {
		loops.Go(func() { s.followPeers(ctx, s.mark) })
	}
	return fleetDone
}

// tellSettings says at every start what an operator should know.
func (s *Server) tellSettings() {
	log := s.log.Info().Str("version", buildinfo.Version()).Str("address", s.URL()).Str("publicUrl", s.conf.PublicURL).
		Str("database", s.store.Dialect()).Str("heartbeats", s.conf.Heartbeats)
	log.Msg("ops-meta starts")
	if s.conf.Heartbeats == HeartbeatsOpen {
		s.log.Warn().Msg("heartbeats are open: whoever reaches this address may report as any host")
	}
	s.backend.TellStandstill()
	if s.conf.TLSCert == "" {
		s.log.Warn().Msg("TLS is off: tokens and credentials travel in the clear")
	}
}

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
