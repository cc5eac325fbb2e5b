package hostlab

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// Server answers heartbeats with what it was told, serves files, and remembers what it
// heard. It can be gone, silent, or lie.
type Server struct {
	*httptest.Server
	mu    sync.Mutex
	reply meta.HeartbeatResponse
	files map[string][]byte
	heard map[string]meta.RealAgent
	past  []meta.RealAgent // every report of an agent that said something new
	beats int

	updater string // version of the sidecar that was answered last

	refuses string                                   // the version of the sidecar that is not answered
	gone    bool                                     // connections are broken
	quiet   chan struct{}                            // when set: files are begun and not gone on with
	lie     func(http.ResponseWriter) bool           // instead of a reply; false: no lie
	bend    func(path string, content []byte) []byte // of files
}

func newServer(t testing.TB) *Server {
	s := &Server{files: map[string][]byte{}, heard: map[string]meta.RealAgent{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.Silence(false)
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	gone, quiet, lie := s.gone, s.quiet, s.lie
	s.mu.Unlock()
	if gone {
		panic(http.ErrAbortHandler)
	}
	if r.Method == http.MethodPost {
		if lie != nil && lie(w) {
			s.mu.Lock()
			s.beats++
			s.mu.Unlock()
			return
		}
		s.answer(w, r)
		return
	}
	s.serveFile(w, r, quiet)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	var req meta.HeartbeatRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beats++
	if req.UpdaterVersion == s.refuses {
		http.Error(w, "not you", http.StatusInternalServerError)
		return
	}
	s.updater = req.UpdaterVersion
	clear(s.heard)
	for _, a := range req.RealAgents {
		s.heard[a.Name] = a
		if n := len(s.past); n == 0 || s.past[n-1].Name != a.Name || s.past[n-1].Error != a.Error || s.past[n-1].Reason != a.Reason || s.past[n-1].Phase != a.Phase {
			s.past = append(s.past, a)
		}
	}
	_ = json.NewEncoder(w).Encode(s.reply)
}

func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, quiet <-chan struct{}) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	s.mu.Lock()
	data, ok := s.files[path]
	bend := s.bend
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	if bend != nil {
		data = bend(path, data)
	}
	if quiet != nil {
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(data[:min(1, len(data))])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-quiet:
		case <-r.Context().Done():
		}
		return
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
}

// Want makes the server say that these agents are wanted.
func (s *Server) Want(agents ...meta.DesiredAgent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply.DesiredAgents = agents
}

// Put serves a file.
func (s *Server) Put(path string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = data
}

// Beats is how many heartbeats came.
func (s *Server) Beats() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beats
}

// Updater is the version of the sidecar that was answered last.
func (s *Server) Updater() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.updater
}

// Refuse answers no sidecar of that version.
func (s *Server) Refuse(updater string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = updater
}

// Last is the last report of the agent.
func (s *Server) Last(name string) meta.RealAgent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[name]
}

// Past are all reports of the agent that said something new.
func (s *Server) Past(name string) (reports []meta.RealAgent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.past {
		if a.Name == name {
			reports = append(reports, a)
		}
	}
	return reports
}

// Vanish breaks every connection, or no longer.
func (s *Server) Vanish(gone bool) {
	s.mu.Lock()
	s.gone = gone
	s.mu.Unlock()
	if gone {
		s.CloseClientConnections()
	}
}

// Silence lets files be begun and not gone on with, or no longer.
func (s *Server) Silence(quiet bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet != nil {
		close(s.quiet)
		s.quiet = nil
	}
	if quiet {
		s.quiet = make(chan struct{})
	}
}

// Lie answers heartbeats with what reply writes, and files with what bend makes of
// them; nil: the truth.
func (s *Server) Lie(reply func(http.ResponseWriter) bool, bend func(path string, content []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lie, s.bend = reply, bend
}
