package sim

import (
	"container/heap"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/meta"
)

// Sim is a fleet. It may be run several times, one after the other: hosts
// remember what they run.
type Sim struct {
	cfg     Config
	address string
	hosts   []*host

	disturbed atomic.Bool

	mu       sync.Mutex
	freed    *sync.Cond // some host is not busy any more
	queue    schedule
	next     int // of the hosts in turn, without an interval
	sent     int64
	deadline time.Time
	reply    []byte
}

// New makes a fleet whose hosts have not reported yet.
func New(cfg Config) (*Sim, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	address, err := cfg.serverAddress()
	if err != nil {
		return nil, err
	}
	s := &Sim{cfg: cfg, address: address, hosts: make([]*host, cfg.Hosts)}
	s.freed = sync.NewCond(&s.mu)
	now := time.Now()
	for i := range s.hosts {
		s.hosts[i] = s.newHost(i, now)
	}
	return s, nil
}

// Drive changes how the next run is driven; the hosts stay who they are.
func (s *Sim) Drive(change func(*Config)) error {
	cfg := s.cfg
	change(&cfg)
	cfg.Hosts, cfg.Seed, cfg.Prefix, cfg.Agents = s.cfg.Hosts, s.cfg.Seed, s.cfg.Prefix, s.cfg.Agents
	if err := cfg.validate(); err != nil {
		return err
	}
	address, err := cfg.serverAddress()
	if err != nil {
		return err
	}
	s.cfg, s.address = cfg, address
	return nil
}

// Run sends heartbeats until the count or the duration is reached or the
// context ends, and tells what it saw.
func (s *Sim) Run(ctx context.Context) Report {
	start := time.Now()
	s.prepareRun(start)
	ctx, cancel := context.WithDeadline(ctx, s.deadline)
	defer cancel()
	workers := make([]worker, min(s.cfg.Workers, len(s.hosts)))
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { workers[i].run(ctx, s) })
	}
	wg.Wait()
	return s.sumUp(workers, time.Since(start))
}

func (s *Sim) prepareRun(now time.Time) {
	s.sent, s.next, s.deadline = 0, 0, now.Add(s.cfg.Duration)
	s.queue = s.queue[:0]
	for _, h := range s.hosts {
		h.busy, h.pace = false, s.cfg.Interval
	}
	if s.cfg.Interval == 0 {
		return
	}
	for _, h := range s.hosts {
		if h.due.Before(now) || h.due.Sub(now) > s.cfg.Interval {
			h.due = now.Add(time.Duration(float64(s.cfg.Interval) * s.drawNow(h, drawStart)))
		}
		s.queue = append(s.queue, h)
	}
	heap.Init(&s.queue)
}

// takeHost is the host whose turn it is, nil when the run is over. Its heartbeat
// is due at its due time.
func (s *Sim) takeHost() *host {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Count > 0 && s.sent >= s.cfg.Count {
		return nil
	}
	s.sent++
	if s.cfg.Interval > 0 {
		if len(s.queue) == 0 {
			return nil
		}
		return heap.Pop(&s.queue).(*host)
	}
	h := s.hosts[s.next]
	s.next = (s.next + 1) % len(s.hosts)
	for h.busy { // its previous heartbeat is still under way
		s.freed.Wait()
	}
	h.busy = true
	return h
}

func (s *Sim) giveBack(h *host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.busy = false
	s.freed.Broadcast()
	if s.cfg.Interval > 0 {
		heap.Push(&s.queue, h)
	}
}

// Disturb says that the server is being disturbed from now on, or not any
// more: the latency of heartbeats meanwhile is told apart from the others'.
func (s *Sim) Disturb(on bool) { s.disturbed.Store(on) }

// LastReply is one of the answers in this contract's dialect that a host got
// in the runs so far.
func (s *Sim) LastReply() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reply
}

func (s *Sim) keepReply(h *host, reply []byte) {
	if s.dialectOf(h) != meta.DialectV1 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
}

func (s *Sim) sumUp(workers []worker, took time.Duration) Report {
	r := Report{Elapsed: took, Versions: make(map[string]int), Phases: make(map[string]int), Statuses: make(map[int]int64)}
	var calm, disturbed histogram
	for i := range workers {
		w := &workers[i]
		calm.merge(&w.calm)
		disturbed.merge(&w.disturbed)
		r.Heartbeats += w.sent
		r.Errors += w.errors
		r.Late = max(r.Late, w.late)
		if r.FirstError == "" {
			r.FirstError = w.firstError
		}
		for status, n := range w.statuses {
			r.Statuses[status] += n
		}
	}
	r.NotModified = r.Statuses[http.StatusNotModified]
	for status, n := range r.Statuses {
		if status != http.StatusOK && status != http.StatusNotModified {
			r.Refused += n
		}
	}
	r.P50, r.P99, r.Max = calm.quantile(0.5), calm.quantile(0.99), calm.max
	r.DisturbedP99, r.DisturbedMax = disturbed.quantile(0.99), disturbed.max
	for _, h := range s.hosts {
		for _, a := range h.agents {
			r.Versions[a.name+"@"+a.version]++
			r.Phases[string(a.phase)]++
		}
	}
	return r
}

// worker sends one heartbeat at a time.
type worker struct {
	conn       conn
	calm       histogram
	disturbed  histogram
	statuses   map[int]int64
	sent       int64
	errors     int64
	late       time.Duration
	firstError string
}

func (w *worker) run(ctx context.Context, s *Sim) {
	w.conn = conn{address: s.address, keepAlive: !s.cfg.NoKeepAlive}
	w.statuses = make(map[int]int64)
	defer w.conn.close()
	for ctx.Err() == nil {
		h := s.takeHost()
		if h == nil {
			return
		}
		if s.cfg.Interval > 0 && !pause.For(ctx, time.Until(h.due)) {
			return
		}
		w.sendBeat(ctx, s, h)
		s.giveBack(h)
	}
}

// sendBeat is one heartbeat of one host, who has the worker for itself.
func (w *worker) sendBeat(ctx context.Context, s *Sim, h *host) {
	now := time.Now()
	if s.cfg.Interval > 0 {
		w.late = max(w.late, now.Sub(h.due))
	}
	s.stepHost(h, now)
	body, err := json.Marshal(s.reportOf(h, now))
	if err != nil {
		w.noteError(err)
		return
	}
	path, etag := meta.PathV1, ""
	if s.dialectOf(h) == meta.DialectLegacy {
		path = meta.PathLegacy
	}
	if s.cfg.Conditional {
		etag = h.etag
	}
	sent, latency := time.Now(), &w.calm
	if s.disturbed.Load() {
		latency = &w.disturbed
	}
	a, err := w.conn.exchangeBeat(ctx, path, etag, body)
	if err != nil && ctx.Err() != nil {
		return // the run is over
	}
	w.sent++
	h.beats++
	if err == nil {
		latency.add(time.Since(sent))
		w.statuses[a.status]++
		err = s.learnReply(h, a)
	}
	if err != nil {
		w.noteError(err)
	}
	s.planNext(h, time.Now())
}

// learnReply obeys an answer, unless it is what was said before.
func (s *Sim) learnReply(h *host, a answer) error {
	if a.status != http.StatusOK || (a.etag != "" && a.etag == h.etag) {
		return nil
	}
	resp, err := decodeReply(a.body)
	if err != nil {
		return err
	}
	h.etag = a.etag
	s.keepReply(h, a.body)
	s.obeyReply(h, resp.DesiredAgents, time.Now())
	if resp.Interval > 0 && s.cfg.Interval > 0 {
		h.pace = time.Duration(resp.Interval) * time.Second
	}
	return nil
}

func (w *worker) noteError(err error) {
	w.errors++
	if w.firstError == "" {
		w.firstError = err.Error()
	}
}

// schedule is the hosts by when they are due.
type schedule []*host

func (q schedule) Len() int           { return len(q) }
func (q schedule) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q schedule) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push and Pop are for container/heap.
func (q *schedule) Push(h any) { *q = append(*q, h.(*host)) }

// Pop removes the last host.
func (q *schedule) Pop() any {
	old := *q
	h := old[len(old)-1]
	*q = old[:len(old)-1]
	return h
}
