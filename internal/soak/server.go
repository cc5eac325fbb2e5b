package soak

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// want is what the server says of one agent.
type want struct {
	version string
	place   string // work directory
	cmd     string // empty: start
	absent  bool   // it is not on the list
}

// mood is how the server answers.
type mood string

// Moods, of the calls that they concern.
const (
	calm      mood = ""
	broken    mood = "500"
	busy      mood = "429"
	babbling  mood = "no JSON"
	endless   mood = "endless"
	elsewhere mood = "redirect"
	mute      mood = "no answer"
	amnesiac  mood = "empty list"
	torn      mood = "half a tarball"
	forging   mood = "forged tarball"
	lacking   mood = "no tarball"
	stalling  mood = "tarball stalls"
	lying     mood = "wrong digest"
)

var moods = []mood{calm, broken, busy, babbling, endless, elsewhere, mute, amnesiac, torn, forging, lacking, stalling, lying}

// muteFor bounds how long the server keeps anybody waiting for nothing.
const muteFor = 3 * time.Second

type release struct {
	data, forged []byte
	digest       string
}

// server is an ops-meta that says what it is told to, in the mood that it is told.
type server struct {
	http     *httptest.Server
	releases map[string]release // by the name of the tarball
	mu       sync.Mutex
	mood     mood
	wants    map[string]want
	heard    map[string]meta.RealAgent
	beats    int
}

func newServer(h *host) (*server, error) {
	s := &server{releases: map[string]release{}, wants: map[string]want{}, heard: map[string]meta.RealAgent{}}
	for _, agent := range agents {
		for _, v := range versions {
			data, digest, err := v.tarball(agent, h.judge, false)
			if err != nil {
				return nil, err
			}
			forged, _, err := v.tarball(agent, h.judge, true)
			if err != nil {
				return nil, err
			}
			s.releases[meta.TarballName(agent, v.name)] = release{data, forged, digest}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/heartbeat", s.heartbeat)
	mux.HandleFunc("GET /releases/{arch}/{file}", s.tarball)
	s.http = httptest.NewServer(mux)
	return s, nil
}

func (s *server) url() string { return s.http.URL }

func (s *server) close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

func (s *server) beatCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beats
}

func (s *server) setMood(m mood) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mood = m
}

func (s *server) want(wants map[string]want) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wants = maps.Clone(wants)
}

// last is what was reported last, and the number of that heartbeat.
func (s *server) last() (map[string]meta.RealAgent, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.heard), s.beats
}

func (s *server) heartbeat(w http.ResponseWriter, r *http.Request) {
	var req meta.HeartbeatRequest
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.beats++
	clear(s.heard)
	for _, a := range req.RealAgents {
		s.heard[a.Name] = a
	}
	now, reply := s.mood, s.reply()
	s.mu.Unlock()
	switch now {
	case broken:
		http.Error(w, "out of order", http.StatusInternalServerError)
	case busy:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "later", http.StatusTooManyRequests)
	case babbling:
		_, _ = io.WriteString(w, `{"desiredAgents": [{"name": ["amber"]`)
	case endless:
		_, _ = io.WriteString(w, `{"errorMessage":"`)
		for range 1 << 10 {
			if _, err := io.WriteString(w, strings.Repeat("x", 64<<10)); err != nil {
				return
			}
		}
	case elsewhere:
		http.Redirect(w, r, "http://127.0.0.1:9/login", http.StatusFound)
	case mute:
		_ = pause(r.Context(), muteFor)
	case amnesiac:
		_, _ = io.WriteString(w, `{"errorMessage":"","desiredAgents":null}`)
	case calm, torn, forging, lacking, stalling, lying:
		_ = json.NewEncoder(w).Encode(reply)
	}
}

// reply is made with the lock held.
func (s *server) reply() meta.HeartbeatResponse {
	reply := meta.HeartbeatResponse{Interval: 1}
	for _, name := range agents {
		want, listed := s.wants[name]
		if !listed || want.absent {
			continue
		}
		rel := s.releases[meta.TarballName(name, want.version)]
		a := meta.DesiredAgent{
			Name: name, Version: want.version, Cmd: meta.CmdStart, WorkDir: want.place,
			Tarball: s.http.URL + "/releases", MD5: rel.digest, Size: int64(len(rel.data)),
		}
		if want.cmd != "" {
			a.Cmd = want.cmd
		}
		if s.mood == lying && name != bystander {
			a.MD5 = strings.Repeat("0", 32)
		}
		reply.DesiredAgents = append(reply.DesiredAgents, a)
	}
	return reply
}

func (s *server) tarball(w http.ResponseWriter, r *http.Request) {
	rel, there := s.releases[r.PathValue("file")]
	s.mu.Lock()
	now := s.mood
	s.mu.Unlock()
	data := rel.data
	switch {
	case !there || now == lacking:
		http.NotFound(w, r)
		return
	case now == forging:
		data = rel.forged
	case now == torn:
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler)
	case now == stalling:
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush()
		_ = pause(r.Context(), muteFor)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
}
