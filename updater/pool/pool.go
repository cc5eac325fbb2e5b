// Package pool starts children, talks to them and lends them to whoever has a
// job for one. A child does what package child serves: this is its other end.
package pool

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
	idleFor   = 1500 * time.Millisecond // an idle child is kept for the next who needs one
)

// Pool lends children to keepers.
type Pool struct {
	start func(ctx context.Context, user string) (Child, error)
	quick chan struct{}
	slow  chan struct{}

	mu     sync.Mutex
	idle   []idleChild
	closed bool
	ending sync.WaitGroup
}

type idleChild struct {
	Child
	user  string
	timer *time.Timer
}

// Lent is a child that a keeper has, with its seat.
type Lent struct {
	Child
	user string
	seat *seat
}

// seat counts a child: as quick first, as slow after a while, if there is room.
type seat struct {
	mu    sync.Mutex
	in    chan struct{} // that it was taken from; nil: it does not count
	timer *time.Timer
}

// New makes a pool of children that start starts.
func New(start func(ctx context.Context, user string) (Child, error)) *Pool {
	return &Pool{start: start, quick: make(chan struct{}, maxQuick), slow: make(chan struct{}, maxSlow)}
}

// Lend waits for a seat, unless it is urgent: whoever has stopped an agent, or
// has a child already, waits for nobody.
func (p *Pool) Lend(ctx context.Context, user string, urgent bool) (*Lent, error) {
	s, err := p.takeSeat(ctx, urgent)
	if err != nil {
		return nil, err
	}
	if child := p.takeIdle(user); child != nil {
		return &Lent{child, user, s}, nil
	}
	child, err := p.start(ctx, user)
	if err != nil {
		s.giveUpSeat()
		return nil, err
	}
	return &Lent{child, user, s}, nil
}

func (p *Pool) takeSeat(ctx context.Context, urgent bool) (*seat, error) {
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

func (s *seat) giveUpSeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in != nil {
		s.timer.Stop()
		<-s.in
		s.in = nil
	}
}

// takeIdle is an idle child of user, or nil.
func (p *Pool) takeIdle(user string) Child {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.idle {
		if c.user == user && c.timer.Stop() {
			p.idle = slices.Delete(p.idle, i, i+1)
			p.ending.Done()
			return c.Child
		}
	}
	return nil
}

// GiveBack keeps the child for a moment, when it is fit for others.
func (p *Pool) GiveBack(l *Lent) {
	defer l.seat.giveUpSeat()
	p.mu.Lock()
	if p.closed || len(p.idle) >= maxIdle {
		p.mu.Unlock()
		l.Close()
		return
	}
	defer p.mu.Unlock()
	p.ending.Add(1)
	c := idleChild{Child: l.Child, user: l.user}
	c.timer = time.AfterFunc(idleFor, func() { p.dropIdle(c.Child) })
	p.idle = append(p.idle, c)
}

func (p *Pool) dropIdle(child Child) {
	p.mu.Lock()
	p.idle = slices.DeleteFunc(p.idle, func(c idleChild) bool { return c.Child == child })
	p.mu.Unlock()
	child.Close()
	p.ending.Done()
}

// Lose ends a child that is not fit for others.
func (p *Pool) Lose(l *Lent) {
	l.Close()
	l.seat.giveUpSeat()
}

// Close ends the idle children, and those that are given back from now on.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		if c.timer.Stop() {
			c.Close()
			p.ending.Done()
		}
	}
	p.ending.Wait()
}
