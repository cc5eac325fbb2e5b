package store

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ops-updater/ops-updater/internal/pause"
)

// channel is what PostgreSQL's NOTIFY tells replicas on.
const channel = "ops_meta_serial"

// poll is how often the serial is read when nothing is heard.
const poll = time.Second

// Change says that what is wanted changed, by this process or another one.
type Change struct {
	Serial int64
}

// hub wakes those that watch in this process.
type hub struct {
	mu      sync.Mutex
	waiters map[chan struct{}]struct{}
}

func (h *hub) join() chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan struct{}, 1)
	if h.waiters == nil {
		h.waiters = map[chan struct{}]struct{}{}
	}
	h.waiters[c] = struct{}{}
	return c
}

func (h *hub) leave(c chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiters, c)
}

func (h *hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.waiters {
		wakeWaiter(c)
	}
}

func wakeWaiter(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is awake already
	}
}

// Watch tells when the serial has changed since Watch was called; several
// changes may come as one. It hears of writes of this process and of other
// replicas at once, and within a second when PostgreSQL's notifications don't
// come through. The channel is closed when ctx ends or the store is closed.
//
// Watch first and read [Reader.Wanted] then, so that no change falls between.
func (s *Store) Watch(ctx context.Context) <-chan Change {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.running, cancel)
	changes := make(chan Change)
	awake := s.hub.join()
	// After joining: a write between the two is heard of, the other way round it would
	// be neither read nor told.
	last, err := s.Serial(ctx)
	if err != nil {
		last = -1 // unknown: the first one read is news
	}
	var listening sync.WaitGroup
	if s.dialect.Postgres {
		listening.Go(func() { s.listenForWrites(ctx, awake) })
	}
	s.wg.Go(func() {
		defer close(changes)
		defer listening.Wait()
		defer s.hub.leave(awake)
		defer stop()
		defer cancel()
		s.followSerial(ctx, awake, last, changes)
	})
	return changes
}

func (s *Store) followSerial(ctx context.Context, awake <-chan struct{}, last int64, changes chan<- Change) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		// Before the serial is read: one that is lower than what this process wrote
		// itself can only come from a database that went back.
		wrote := s.written.Load()
		serial, err := s.lookAtSerial(ctx)
		wentBack := serial < wrote // perhaps to the one told last, when what was written had not been told yet
		if err == nil && (serial != last || wentBack) {
			select {
			case changes <- Change{Serial: serial}:
				last = serial
				if wentBack {
					s.written.CompareAndSwap(wrote, serial)
				}
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-awake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lookAtSerial gives a database that does not answer up, so that the next look
// is on another connection.
func (s *Store) lookAtSerial(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*poll)
	defer cancel()
	return s.Serial(ctx)
}

// listenForWrites waits for notifications, reconnecting for as long as it takes.
func (s *Store) listenForWrites(ctx context.Context, awake chan struct{}) {
	for ctx.Err() == nil {
		s.listenOnce(ctx, awake)
		pause.For(ctx, poll)
	}
}

// listenOnce returns when its connection breaks; polling covers the gap, so
// the reason is of no interest.
func (s *Store) listenOnce(ctx context.Context, awake chan struct{}) {
	conn, err := pgx.Connect(ctx, s.cfg.DSN)
	if err != nil {
		return
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), poll)
		defer cancel()
		_ = conn.Close(bye)
	}()
	// A connection of its own: the pool hands its connections on, and with them what
	// they listen to.
	if _, err := conn.Exec(ctx, `LISTEN `+channel); err != nil {
		return
	}
	wakeWaiter(awake)
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return
		}
		wakeWaiter(awake)
	}
}
