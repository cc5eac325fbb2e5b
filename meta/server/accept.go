package server

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

const (
	// acceptQuiet is how often a failure to accept connections is logged.
	acceptQuiet = 10 * time.Second
	// acceptFault is for how long after one the server is not ready: it needs
	// room for more than the connection that just fitted.
	acceptFault = 5 * time.Second
)

// acceptWatch is a listener that tells when connections can't be accepted:
// without file descriptors hosts and people wait, and nothing else would say
// why.
type acceptWatch struct {
	net.Listener
	log zerolog.Logger

	mu     sync.Mutex
	failed time.Time // last
	logged time.Time
	since  int // failures not logged yet
	cause  error
}

// Accept waits for the next connection.
func (l *acceptWatch) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		l.noteFailure(err, time.Now())
	}
	return c, err
}

func (l *acceptWatch) noteFailure(err error, now time.Time) {
	l.mu.Lock()
	l.failed, l.cause = now, err
	l.since++
	due, count := now.Sub(l.logged) >= acceptQuiet, l.since
	if due {
		l.logged, l.since = now, 0
	}
	l.mu.Unlock()
	if due {
		l.log.Error().Err(err).Int("times", count).Msg(acceptAdvice(err))
	}
}

func acceptAdvice(err error) string {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return "cannot accept connections: out of file descriptors; raise the limit (LimitNOFILE, ulimit -n) or find who keeps so many connections open"
	}
	return "cannot accept connections"
}

// recentFault says that connections were refused a moment ago, or "".
func (l *acceptWatch) recentFault(now time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed.IsZero() || now.Sub(l.failed) > acceptFault {
		return ""
	}
	return "connections cannot be accepted: " + causeOf(l.cause)
}
