package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/internal/servicemanager"
	"github.com/ops-updater/ops-updater/meta/internal/backend"
)

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
	servicemanager.Ready()
	go servicemanager.KeepAlive(background, func() { s.fleet.Backlog() })
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
	loops.Go(func() { pause.Every(ctx, holdsEvery, func() { s.backend.EndHolds(ctx) }) })
	loops.Go(func() {
		pause.Every(ctx, tokensEvery, func() { s.backend.TouchTokens(ctx) })
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), headerTimeout)
		defer cancel()
		s.backend.TouchTokens(last)
	})
	loops.Go(func() { pause.Every(ctx, backend.SampleEvery, func() { s.backend.Sample(ctx) }) })
	loops.Go(func() { pause.Every(ctx, backend.CleanEvery, func() { s.backend.Clean(ctx) }) })
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
		s.log.Warn().Msg("heartbeats are open: anyone who reaches this address may report as any host")
	}
	s.backend.TellStandstill()
	if !s.servesTLS() {
		s.log.Warn().Msg("TLS is off: tokens and credentials travel in the clear")
	}
}
