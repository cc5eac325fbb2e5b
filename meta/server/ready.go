package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

const (
	// readyTimeout bounds how long a client is kept waiting.
	readyTimeout = 2 * time.Second
	// readyFresh is for how long an answer is given again: however often it
	// is asked, there is one write in that time.
	readyFresh = time.Second
	// probeTimeout bounds a probe; SQLite waits ten seconds for a lock.
	probeTimeout = 15 * time.Second
)

// readiness is whether this server can keep what it is told.
type readiness struct {
	fleet    *fleet.Fleet
	store    *store.Store
	incoming string // directory of artifacts that arrive
	log      zerolog.Logger
	accepts  *acceptWatch
	running  sync.WaitGroup

	mu     sync.Mutex
	probe  *probe   // the one under way, or the last one
	found  []string // by the last one that has ended
	faults string   // as they were last logged
}

// probe is one attempt to write everywhere.
type probe struct {
	done   chan struct{}
	begun  time.Time
	ended  time.Time // set before done is closed
	faults []string
}

// findFaults says what cannot be kept now; nothing when everything can.
func (r *readiness) findFaults(ctx context.Context) []string {
	p := r.currentProbe()
	t := time.NewTimer(readyTimeout)
	defer t.Stop()
	var faults []string
	select {
	case <-p.done:
		faults = slices.Clone(p.faults)
	case <-t.C:
		faults = r.overdueFaults(p)
	case <-ctx.Done():
		return []string{"the client went away"}
	}
	faults = append(faults, r.faultsInMemory()...)
	r.logChange(faults)
	return faults
}

// overdueFaults is what to say of a probe that takes too long: what the one
// before it found, which says why, or for how long it has been waiting.
func (r *readiness) overdueFaults(p *probe) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.found) > 0 {
		return slices.Clone(r.found)
	}
	return []string{fmt.Sprintf("the database has not taken a write for %s", time.Since(p.begun).Round(time.Second))}
}

// faultsInMemory is what is known without trying.
func (r *readiness) faultsInMemory() (faults []string) {
	if n, failing := r.fleet.Backlog(); failing {
		faults = append(faults, fmt.Sprintf("the changes of %d hosts wait to be written", n))
	}
	if why := r.accepts.recentFault(time.Now()); why != "" {
		faults = append(faults, why)
	}
	return faults
}

// currentProbe is the probe under way, one that has just ended, or a new one.
func (r *readiness) currentProbe() *probe {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.probe; p != nil {
		select {
		case <-p.done:
			if time.Since(p.ended) < readyFresh {
				return p
			}
		default:
			return p
		}
	}
	p := &probe{done: make(chan struct{}), begun: time.Now()}
	r.probe = p
	r.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		p.faults = r.proveWritable(ctx)
		p.ended = time.Now()
		r.mu.Lock()
		r.found = p.faults
		r.mu.Unlock()
		close(p.done)
	})
	return p
}

// proveWritable writes to the database and beside the artifacts.
func (r *readiness) proveWritable(ctx context.Context) (faults []string) {
	if err := r.store.ProveWritable(ctx); err != nil {
		r.log.Debug().Err(err).Msg("the database cannot be written")
		faults = append(faults, "the database cannot be written: "+store.WhyNotWritable(err))
	}
	if err := proveDirWritable(r.incoming); err != nil {
		faults = append(faults, "the directory of artifacts cannot be written: "+causeOf(err))
	}
	return faults
}

// proveDirWritable writes a page into a directory; the name is always the
// same, so that nothing piles up when it cannot be removed.
func proveDirWritable(dir string) error {
	path := dir + "/.writable"
	err := os.WriteFile(path, make([]byte, os.Getpagesize()), 0o600)
	if gone := os.Remove(path); err == nil {
		err = gone
	}
	return err
}

// causeOf is an error of the system without the path.
func causeOf(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return "it failed"
}

// logChange logs what changed.
func (r *readiness) logChange(faults []string) {
	now := strings.Join(faults, "; ")
	r.mu.Lock()
	was := r.faults
	r.faults = now
	r.mu.Unlock()
	switch {
	case was == now:
	case now == "":
		r.log.Info().Msg("everything can be kept again")
	case was == "":
		r.log.Error().Str("faults", now).Msg("not ready: what this server is told cannot be kept")
	}
}

// serveReady answers /readyz: whether the server can keep what it is told.
// Heartbeats are answered from memory even when it can't.
func (r *readiness) serveReady(w http.ResponseWriter, req *http.Request) {
	if faults := r.findFaults(req.Context()); len(faults) > 0 {
		http.Error(w, "not ready: "+strings.Join(faults, "; "), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}
