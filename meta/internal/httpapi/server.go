package httpapi

import (
	"errors"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/rs/xid"
	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/bodies"
)

// Config is what the API needs of the server.
type Config struct {
	Access  *Access
	Feed    *Feed
	Backend Backend
	Log     zerolog.Logger
	Observe func(operation string, status int, seconds float64) // of every finished request; may be nil

	MaxArriving int // bodies at once that have not arrived whole; 0: bodies.DefaultMax
}

// Server serves /api/v1.
type Server struct {
	access   *Access
	feed     *Feed
	backend  Backend
	log      zerolog.Logger
	observe  func(string, int, float64)
	mux      *http.ServeMux
	document []byte
	arrivals *bodies.Arrivals
	room     *bodies.Room
}

// New returns the handler of /api/v1.
func New(c Config) (*Server, error) {
	s := &Server{
		access: c.Access, feed: c.Feed, backend: c.Backend, log: c.Log, observe: c.Observe, mux: http.NewServeMux(),
		arrivals: bodies.NewArrivals(c.MaxArriving), room: bodies.NewRoom(bodies.DefaultRoom),
	}
	routes := s.allRoutes()
	var err error
	if s.document, err = describeRoutes(routes); err != nil {
		return nil, err
	}
	paths := map[string][]string{}
	for _, r := range routes {
		s.mux.Handle(r.method+" "+prefix+r.path, s.handlerOf(r))
		paths[r.path] = append(paths[r.path], r.method)
	}
	for path, methods := range paths {
		s.mux.Handle(prefix+path, s.otherMethods(methods))
	}
	s.mux.Handle(prefix+"/", http.HandlerFunc(s.nothingHere))
	return s, nil
}

// ServeHTTP serves everything below /api/v1.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Request-Id", xid.New().String())
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.mux.ServeHTTP(w, r)
}

// handlerOf runs one operation: who calls, may they, do it, say how it went.
func (s *Server) handlerOf(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		rec := &recorder{ResponseWriter: w}
		done := s.watchRequest(r, req, rec)
		defer done()
		c := &call{Request: req, w: rec, server: s}
		defer c.giveRoomBack()
		var err error
		if r.role != "" {
			if c.caller, err = s.access.Identify(req); err == nil {
				err = Authorize(c.caller, r.role)
			}
			if err == nil {
				err = r.checkRemits(c)
			}
		} else {
			c.caller.From = s.access.Address(req).String()
		}
		if err == nil {
			err = r.checkQuery(req.URL.RawQuery)
		}
		if err != nil && req.ContentLength != 0 {
			bodies.LeaveUnread(rec)
		}
		if err == nil {
			err = r.serve(c)
		}
		if err != nil {
			s.failRequest(rec, req, s.withNearest(err))
		}
	})
}

// failRequest answers with a problem, or breaks the connection when part of another
// answer is on its way: the reader must not take it for complete.
func (s *Server) failRequest(rec *recorder, req *http.Request, err error) {
	if rec.status == 0 {
		writeProblem(rec, req, err, s.log)
		return
	}
	s.log.Warn().Err(err).Str("path", req.URL.Path).Msg("reply broken off")
	panic(http.ErrAbortHandler)
}

// Refuse answers a request beside the API with err, as the API does.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	writeProblem(w, r, err, s.log)
}

func (s *Server) otherMethods(methods []string) http.Handler {
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		writeProblem(w, r, &api.Problem{
			Type: problemType("method"), Status: http.StatusMethodNotAllowed,
			Detail: r.Method + " is not possible here", Hint: "possible are " + allow,
		}, s.log)
	})
}

func (s *Server) nothingHere(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, r, &api.Error{
		Kind: api.KindNotFound, Message: "there is no " + printable.Clip(r.URL.Path), Hint: "the operations are in " + prefix + "/openapi.json",
	}, s.log)
}

// watchRequest logs and counts a request when it ends, also by a panic.
func (s *Server) watchRequest(r route, req *http.Request, rec *recorder) func() {
	start := s.access.now()
	return func() {
		cause := recover()
		if broken, _ := cause.(error); cause != nil && !errors.Is(broken, http.ErrAbortHandler) {
			s.log.Error().Interface("panic", cause).Bytes("stack", debug.Stack()).Str("operation", r.id).Msg("handler panicked")
			if rec.status == 0 {
				writeProblem(rec, req, &api.Error{Kind: api.KindInternal, Message: "something went wrong in the server"}, s.log)
				cause = nil
			}
		}
		took := s.access.now().Sub(start)
		if s.observe != nil {
			s.observe(r.id, rec.status, took.Seconds())
		}
		s.log.Debug().Str("operation", r.id).Str("method", req.Method).Str("path", req.URL.Path).
			Int("status", rec.status).Dur("took", took).Msg("request")
		if cause != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// recorder remembers the status of a reply.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
