package updater

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Bounds of the children. An agent holds one only while something is asked or
// done; then it goes to whoever needs one as the same user, or ends soon.
const (
	maxQuick  = 16              // at work at once, as long as they are quick
	maxSlow   = 48              // beside them, which have been at work for longer: hanging agents delay no others
	slowAfter = 2 * time.Second // which makes a child a slow one
	maxIdle   = 8
	idleFor   = time.Second // an idle child is kept for the next who needs one
)

// pool lends children to keepers.
type pool struct {
	start func(ctx context.Context, user string) (hands, error)
	quick chan struct{}
	slow  chan struct{}

	mu     sync.Mutex
	idle   []idleChild
	closed bool
	ending sync.WaitGroup
}

type idleChild struct {
	hands
	user  string
	timer *time.Timer
}

// lent is a child that a keeper has, with its seat.
type lent struct {
	hands
	user string
	seat *seat
}

// seat counts a child: as quick first, as slow after a while, if there is room.
type seat struct {
	mu    sync.Mutex
	in    chan struct{} // that it was taken from; nil: it does not count
	timer *time.Timer
}

func newPool(start func(ctx context.Context, user string) (hands, error)) *pool {
	return &pool{start: start, quick: make(chan struct{}, maxQuick), slow: make(chan struct{}, maxSlow)}
}

// lend waits for a seat, unless it is urgent: whoever has stopped an agent, or
// has a child already, waits for nobody.
func (p *pool) lend(ctx context.Context, user string, urgent bool) (*lent, error) {
	s, err := p.take(ctx, urgent)
	if err != nil {
		return nil, err
	}
	if h := p.reuse(user); h != nil {
		return &lent{h, user, s}, nil
	}
	h, err := p.start(ctx, user)
	if err != nil {
		s.leave()
		return nil, err
	}
	return &lent{h, user, s}, nil
}

func (p *pool) take(ctx context.Context, urgent bool) (*seat, error) {
	s := &seat{}
	if urgent {
		select {
		case p.quick <- struct{}{}:
		default:
			return s, nil
		}
	} else {
		select {
		case p.quick <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.in = p.quick
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(slowAfter, func() { s.slowDown(p.slow) })
	return s, nil
}

// slowDown makes room for the quick ones.
func (s *seat) slowDown(slow chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == nil {
		return
	}
	select {
	case slow <- struct{}{}:
		<-s.in
		s.in = slow
	default:
		s.timer.Reset(slowAfter)
	}
}

func (s *seat) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in != nil {
		s.timer.Stop()
		<-s.in
		s.in = nil
	}
}

// reuse is an idle child of user, or nil.
func (p *pool) reuse(user string) hands {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.idle {
		if c.user == user && c.timer.Stop() {
			p.idle = slices.Delete(p.idle, i, i+1)
			p.ending.Done()
			return c.hands
		}
	}
	return nil
}

// giveBack keeps the child for a moment, when it is fit for others.
func (p *pool) giveBack(l *lent) {
	defer l.seat.leave()
	p.mu.Lock()
	if p.closed || len(p.idle) >= maxIdle {
		p.mu.Unlock()
		l.close()
		return
	}
	defer p.mu.Unlock()
	p.ending.Add(1)
	c := idleChild{hands: l.hands, user: l.user}
	c.timer = time.AfterFunc(idleFor, func() { p.dropIdle(c.hands) })
	p.idle = append(p.idle, c)
}

func (p *pool) dropIdle(h hands) {
	p.mu.Lock()
	p.idle = slices.DeleteFunc(p.idle, func(c idleChild) bool { return c.hands == h })
	p.mu.Unlock()
	h.close()
	p.ending.Done()
}

// lose ends a child that is not fit for others.
func (p *pool) lose(l *lent) {
	l.close()
	l.seat.leave()
}

// close ends the idle children, and those that are given back from now on.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		if c.timer.Stop() {
			c.close()
			p.ending.Done()
		}
	}
	p.ending.Wait()
}
