// Package bodies bounds what the bodies of requests cost while they arrive
// and while somebody works on them.
//
// A body has seconds: a fixed time to begin with, and more only as its bytes
// arrive. Half-sent bodies share one budget; when it is used up, the address
// that holds most of it gives way, its oldest body first. So a sender that opens
// thousands of requests and leaves them half-sent pushes out its own, and a
// body that comes whole is hardly ever counted at all.
package bodies

import (
	"bytes"
	"container/list"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Small is how large a body is that is nothing special.
	Small = 64 << 10
	// slot is what a half-sent body counts beyond its bytes: a connection
	// and a goroutine.
	slot = 16 << 10

	// DefaultMax is how many bodies may be half-sent.
	DefaultMax  = 4096
	leastBudget = 16 << 20

	begin   = 10 * time.Second // to send a small body
	perByte = time.Second / (16 << 10)
)

// What becomes of a body that is not read whole.
var (
	ErrSlow    = errors.New("the body did not arrive in time")
	ErrGaveWay = errors.New("too many requests from this address are half-sent: this one made way for others")
	ErrBroken  = errors.New("the body broke off")
)

// TooLarge is a body over its limit.
type TooLarge struct{ Limit int64 }

func (e *TooLarge) Error() string {
	return fmt.Sprintf("the body is larger than %d bytes", e.Limit)
}

// Arrivals reads bodies; make it with [NewArrivals].
type Arrivals struct {
	few    int64 // bodies that arrive at once without being counted by address
	budget int64 // bytes that those hold which are counted

	arriving atomic.Int64

	mu      sync.Mutex
	held    int64
	senders map[netip.Addr]*sender
}

// sender is an address with half-sent bodies, the oldest first.
type sender struct {
	address netip.Addr
	held    int64
	bodies  list.List // of *arrival
}

// NewArrivals lets so many bodies be half-sent; 0: [DefaultMax].
func NewArrivals(most int) *Arrivals {
	if most <= 0 {
		most = DefaultMax
	}
	most = max(most, 2)
	budget := max(int64(most-most/2)*slot, leastBudget)
	return &Arrivals{few: int64(most / 2), budget: budget, senders: map[netip.Addr]*sender{}}
}

// Exchange is a request whose body is to be read. A body that sets deadlines
// by itself stops that when it has a method YieldDeadline.
type Exchange struct {
	W     http.ResponseWriter
	R     *http.Request
	From  func() string // where it comes from; asked only when it matters
	Limit int64         // bytes of the body
}

// Read reads a body whole into buf. After an error it is left unread.
func (a *Arrivals) Read(x Exchange, buf *bytes.Buffer) error {
	if x.R.ContentLength > x.Limit {
		LeaveUnread(x.W)
		return &TooLarge{x.Limit}
	}
	err := a.readBody(x, buf)
	if err != nil {
		LeaveUnread(x.W)
	}
	return err
}

func (a *Arrivals) readBody(x Exchange, buf *bytes.Buffer) error {
	if p, ok := x.R.Body.(interface{ YieldDeadline() }); ok {
		p.YieldDeadline()
	}
	b := &arrival{all: a, exchange: x, control: http.NewResponseController(x.W), started: time.Now()}
	if a.arriving.Add(1) > a.few {
		a.countBody(b)
	}
	_, err := buf.ReadFrom(b)
	a.arriving.Add(-1)
	if b.counted {
		a.leaveArrivals(b)
	}
	var large *TooLarge
	switch {
	case err == nil, errors.As(err, &large):
		return err
	case b.gaveWay:
		return ErrGaveWay
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrSlow
	}
	return errors.Join(ErrBroken, err)
}

// arrival is one body on its way.
type arrival struct {
	all      *Arrivals
	exchange Exchange
	control  *http.ResponseController
	started  time.Time
	deadline time.Time
	received int64
	counted  bool // from then on what follows is guarded by all.mu

	sender  *sender // nil: not counted
	place   *list.Element
	held    int64
	gaveWay bool
}

// Read implements io.Reader.
func (b *arrival) Read(p []byte) (int, error) {
	b.extendDeadline()
	n, err := b.exchange.R.Body.Read(p)
	b.received += int64(n)
	if b.received > b.exchange.Limit {
		return n, &TooLarge{b.exchange.Limit}
	}
	if n > 0 && err == nil && (b.received > Small || b.counted) {
		b.all.countBody(b)
	}
	return n, err
}

// extendDeadline moves the deadline on for what has arrived.
func (b *arrival) extendDeadline() {
	earned := begin + max(0, time.Duration(b.received-Small))*perByte
	d := b.started.Add(earned)
	if d.Sub(b.deadline) < time.Second {
		return
	}
	b.deadline = d
	if b.counted {
		b.all.mu.Lock()
		defer b.all.mu.Unlock()
	}
	if !b.gaveWay {
		_ = b.control.SetReadDeadline(d) // where it cannot be set, the server's own holds
	}
}

// countBody adds a body, or what it has grown by, to what its address holds, and
// makes room when that is too much.
func (a *Arrivals) countBody(b *arrival) {
	from := addressOf(b.exchange.From())
	a.mu.Lock()
	defer a.mu.Unlock()
	b.counted = true
	if b.gaveWay {
		return
	}
	if b.sender == nil {
		s := a.senders[from]
		if s == nil {
			s = &sender{address: from}
			a.senders[from] = s
		}
		b.sender, b.place = s, s.bodies.PushBack(b)
	}
	grown := slot + b.received - b.held
	b.held += grown
	b.sender.held += grown
	a.held += grown
	for a.held > a.budget {
		a.giveWay(a.heaviestSender().bodies.Front().Value.(*arrival))
	}
}

// heaviestSender is the address that holds most.
func (a *Arrivals) heaviestSender() (most *sender) {
	for _, s := range a.senders {
		if most == nil || s.held > most.held {
			most = s
		}
	}
	return most
}

// giveWay ends the reading of a body. It is called only while the body is
// being read, so that the deadline cannot hit a later request.
func (a *Arrivals) giveWay(b *arrival) {
	a.forgetBody(b)
	b.gaveWay = true
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}

func (a *Arrivals) leaveArrivals(b *arrival) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forgetBody(b)
}

func (a *Arrivals) forgetBody(b *arrival) {
	if b.place == nil {
		return
	}
	s := b.sender
	s.bodies.Remove(b.place)
	s.held -= b.held
	a.held -= b.held
	b.place, b.held = nil, 0
	if s.bodies.Len() == 0 {
		delete(a.senders, s.address)
	}
}

// addressOf is what counts as one address: of IPv6 its /64.
func addressOf(text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap()
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}
