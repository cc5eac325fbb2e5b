package sim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/scripts/fleetsim/sim"
)

// server answers every host with one version and remembers what it heard.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	version string
	heard   []string // bodies without timestamps
	paths   map[string]int
	conns   map[string]bool
}

func newServer(t *testing.T, version string) *server {
	s := &server{version: version, paths: make(map[string]int), conns: make(map[string]bool)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var req meta.HeartbeatRequest
	if err := json.Unmarshal(body, &req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for i := range req.RealAgents {
		req.RealAgents[i].Timestamp = 0
	}
	req.BootTime = 0
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths[r.URL.Path]++
	s.conns[r.RemoteAddr] = true
	s.heard = append(s.heard, fmt.Sprintf("%+v", req))
	tag := `"` + s.version + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_ = json.NewEncoder(w).Encode(meta.HeartbeatResponse{DesiredAgents: []meta.DesiredAgent{{Name: "falcon", Version: s.version, Cmd: "start"}}})
}

func run(t *testing.T, s *server, c sim.Config) sim.Report {
	t.Helper()
	c.Server = s.URL
	c.Agents = []sim.Agent{{Name: "falcon", Version: "1.0"}, {Name: "other", Version: "3.1"}}
	fleet, err := sim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r := fleet.Run(context.Background())
	if r.Errors > 0 {
		t.Fatalf("%d errors, first: %s", r.Errors, r.FirstError)
	}
	return r
}

func TestTheSameSeedIsTheSameFleet(t *testing.T) {
	heard := func(seed uint64) []string {
		s := newServer(t, "2.0")
		run(t, s, sim.Config{Hosts: 100, Seed: seed, Count: 500, Legacy: 0.3, Changed: 0.2, Restarts: 0.1, Workers: 8})
		slices.Sort(s.heard)
		return s.heard
	}
	first, again, other := heard(7), heard(7), heard(8)
	if !slices.Equal(first, again) {
		t.Error("one seed gives two fleets")
	}
	if slices.Equal(first, other) {
		t.Error("two seeds give one fleet")
	}
}

func TestHostsObeyAndFail(t *testing.T) {
	s := newServer(t, "2.0")
	r := run(t, s, sim.Config{Hosts: 400, Seed: 1, Count: 2000, Legacy: 0.25, Workers: 8, Failures: []sim.Failure{{Agent: "falcon", Version: "2.0", Share: 0.1}}})
	failed := r.Phases[string(meta.PhaseRolledBack)]
	if failed < 20 || failed > 60 || r.Versions["falcon@1.0"] != failed || r.Versions["falcon@2.0"] != 400-failed {
		t.Errorf("%d failed, versions %v; want about 40 back on 1.0, the others on 2.0", failed, r.Versions)
	}
	if r.Versions["other@3.1"] != 400 {
		t.Errorf("versions %v; other was not wanted to change", r.Versions)
	}
	if n := s.paths[meta.PathLegacy]; n < 300 || n > 700 {
		t.Errorf("%d of 2000 heartbeats in the older dialect; want about 500", n)
	}
}

func TestHostsReportWhenAPhaseEnds(t *testing.T) {
	s := newServer(t, "2.0")
	r := run(t, s, sim.Config{Hosts: 20, Seed: 1, Interval: 500 * time.Millisecond, Upgrade: 50 * time.Millisecond, Probation: 50 * time.Millisecond, Count: 80})
	if r.Versions["falcon@2.0"] != 20 || r.Phases["idle"] != 40 {
		t.Errorf("versions %v, phases %v; want all done", r.Versions, r.Phases)
	}
	if !slices.ContainsFunc(s.heard, func(b string) bool { return strings.Contains(b, "Phase:probation") }) {
		t.Error("nobody reported probation")
	}
}

func TestConnections(t *testing.T) {
	cases := []struct {
		name   string
		config sim.Config
		least  int
		most   int
	}{
		{"kept", sim.Config{Workers: 4}, 1, 4},
		{"one per heartbeat", sim.Config{Workers: 4, NoKeepAlive: true}, 100, 100},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, "1.0")
			c.config.Hosts, c.config.Count, c.config.Conditional = 50, 100, true
			r := run(t, s, c.config)
			if n := len(s.conns); n < c.least || n > c.most {
				t.Errorf("%d connections; want %d to %d", n, c.least, c.most)
			}
			if r.Heartbeats != 100 || r.NotModified != 50 || r.P99 <= 0 || r.P50 > r.P99 || r.P99 > r.Max {
				t.Errorf("report %+v", r)
			}
		})
	}
}

func TestRefusedConfigurations(t *testing.T) {
	cases := []struct {
		name   string
		config sim.Config
		want   string
	}{
		{"another machine", sim.Config{Server: "http://192.0.2.1:80", Hosts: 1}, "loopback"},
		{"a name", sim.Config{Server: "http://localhost:80", Hosts: 1}, "loopback"},
		{"https", sim.Config{Server: "https://127.0.0.1:80", Hosts: 1}, "http URL"},
		{"no hosts", sim.Config{Server: "http://127.0.0.1:80"}, "hosts"},
		{"too many hosts", sim.Config{Server: "http://127.0.0.1:80", Hosts: 3_000_000}, "hosts"},
		{"too long", sim.Config{Server: "http://127.0.0.1:80", Hosts: 1, Duration: 2 * time.Hour}, "duration"},
		{"more than all", sim.Config{Server: "http://127.0.0.1:80", Hosts: 1, Changed: 2}, "share"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := sim.New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v; want an error about %s", err, c.want)
			}
		})
	}
}

func TestAServerThatIsGoneIsCounted(t *testing.T) {
	s := newServer(t, "1.0")
	fleet, err := sim.New(sim.Config{Server: s.URL, Hosts: 10, Count: 20})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if r := fleet.Run(context.Background()); r.Errors != 20 || r.FirstError == "" {
		t.Fatalf("report %+v; want 20 errors", r)
	}
}
