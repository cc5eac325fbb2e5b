package server

import (
	"context"
	stdlog "log" //nolint:depguard // net/http wants one
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/bodies"
	"github.com/ops-updater/ops-updater/meta/internal/heartbeat"
	"github.com/ops-updater/ops-updater/meta/internal/httpapi"
	"github.com/ops-updater/ops-updater/meta/internal/web"
)

// buildHandler puts everything behind one address.
func (s *Server) buildHandler(ctx context.Context) error {
	s.metrics = newMetrics(s.backend)
	b := s.backend
	var err error
	s.api, err = httpapi.New(httpapi.Config{
		Access: s.access, Feed: s.feed, Log: s.log, Observe: s.metrics.countRequest, MaxArriving: min(bodies.DefaultMax, s.connections.most/2),
		Backend: httpapi.Backend{
			Agents: b.Agents, Groups: b.Groups, Strategies: b.Strategies, NotifyTargets: b.NotifyTargets, Schedules: b.Schedules, Channels: b.Channels, Following: b.Rollouts(),
			Releases: b.Releases, Artifacts: b.Artifacts, Assignments: b.Assignments, Holds: b.Holds,
			Hosts: b.Hosts, Tokens: b.Tokens, Users: b.Users, Sessions: b.Sessions, Logins: b.Logins, Keys: b.Keys, History: b.History, Fleet: b.FleetFile, Rollouts: b.Rollouts(), Care: care{s},
			Notifications: b.Notifications, Standstill: b.Standstill, Filters: b.Filters,
		},
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", patientExchange(s.api))
	s.beats = heartbeat.New(heartbeat.Options{
		Fleet: s.fleet, Access: s.access, Log: s.log,
		Address:     func(r *http.Request) string { return s.access.Address(r).String() },
		MaxArriving: min(bodies.DefaultMax, s.connections.most/2),
	})
	s.metrics.countHeartbeats(s.beats)
	mux.Handle(meta.PathV1, s.beats)
	mux.Handle(meta.PathLegacy, s.beats)
	mux.HandleFunc("GET /releases/{agent}/{arch}/{file}", s.serveDownload)
	mux.HandleFunc("GET /install.sh", s.serveInstall)
	mux.HandleFunc("GET /healthz", s.serveHealth)
	mux.HandleFunc("GET /readyz", s.readiness.serveReady)
	mux.HandleFunc("GET /metrics", s.metrics.serveMetrics)
	mux.HandleFunc("/api/", nothingHere)
	mux.HandleFunc("/releases/", nothingHere)
	s.serveAncestors(mux)
	page, err := s.newPage(ctx)
	if err != nil {
		return err
	}
	mux.Handle("/", patientExchange(page))
	if s.conf.Pprof {
		mux.Handle("GET /debug/pprof/", s.adminsOnly(pprof.Index))
		mux.Handle("GET /debug/pprof/profile", s.adminsOnly(pprof.Profile))
	}
	s.handler = bodies.DrainUnread(mux)
	return nil
}

// newPage is what people see. It reaches the API in this process, as the person
// who is logged in and from where they are.
func (s *Server) newPage(ctx context.Context) (http.Handler, error) {
	key, err := s.store.EnsureSecret(ctx, "page-sessions", 32)
	if err != nil {
		return nil, err
	}
	conf := web.Config{
		API: s.api, Key: [32]byte(key), Secure: strings.HasPrefix(s.conf.PublicURL, "https://"), Log: s.log,
		NotFound: http.HandlerFunc(nothingHere),
		Handout:  s.handout,
		Reach:    func() string { return strings.TrimRight(s.backend.Settings().PublicURL, "/") },
	}
	if s.provider != nil {
		conf.Provider = s.provider.Name()
	}
	h, err := web.New(conf)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = netip.AddrPortFrom(s.access.Address(r), 0).String()
		h.ServeHTTP(w, r)
	}), nil
}

// adminsOnly asks for an admin's token.
func (s *Server) adminsOnly(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := s.access.Identify(r)
		if err != nil || id.Role != api.RoleAdmin {
			http.Error(w, "an admin's token is needed", http.StatusForbidden)
			return
		}
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		h(w, r)
	})
}

// serveHealth says that the process answers.
func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("ok\n"))
}

// quietLog takes what net/http says about broken connections.
func quietLog(log zerolog.Logger) *stdlog.Logger {
	return stdlog.New(debugWriter{log}, "", 0)
}

type debugWriter struct{ log zerolog.Logger }

func (d debugWriter) Write(p []byte) (int, error) {
	d.log.Debug().Str("detail", string(p)).Msg("connection")
	return len(p), nil
}
