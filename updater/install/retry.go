package install

import (
	"errors"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/jitter"
)

const (
	retryBase = 500 * time.Millisecond
	retryCap  = 30 * time.Second

	// maxRetryAfter is how long we wait on a server's word within one run;
	// longer waits are the next heartbeat's.
	maxRetryAfter = time.Minute

	// progressBytes make a broken try count as progress, which gives the
	// mirrors their retries back. It bounds the number of tries.
	progressBytes = 1 << 20

	// wrongDigests from one mirror are enough to give it up: the first could
	// be a cache on the way, or a part that a power cut has damaged.
	wrongDigests = 2
)

// setback is a try that did not bring the whole tarball.
type setback struct {
	err    *Error
	wrong  bool          // all bytes came, and they are not the release that is wanted
	pure   bool          // they came from this mirror alone
	gained int64         // bytes downloaded
	wait   time.Duration // the server's Retry-After
}

// mirrors decides what to do after a setback. It performs no I/O.
type mirrors struct {
	urls     []string
	last     []*Error // its last setback, by index; nil: none yet
	dead     []*Error // why a mirror is given up, by index
	wrong    []int    // wrong tarballs, by index
	current  int
	failures int // passing errors since there was progress
	restarts int // tarballs that were thrown away; never forgotten, so that the tries are bounded
	retries  int
}

func newMirrors(urls []string, retries int) *mirrors {
	return &mirrors{urls: urls, last: make([]*Error, len(urls)), dead: make([]*Error, len(urls)), wrong: make([]int, len(urls)), retries: retries}
}

func (m *mirrors) currentURL() string { return m.urls[m.current] }

// hasFresh reports whether there is another mirror that nothing speaks against yet,
// so that a slow one need not be put up with.
func (m *mirrors) hasFresh() bool {
	for at, e := range m.last {
		if at != m.current && e == nil {
			return true
		}
	}
	return false
}

// decision is what comes after a setback: another try at url() after wait, or
// the end. With fresh set, what has been downloaded so far is thrown away.
type decision struct {
	wait  time.Duration
	fresh bool
	err   *Error // the end
}

// afterSetback takes note of a setback at the current mirror and decides.
func (m *mirrors) afterSetback(s setback) decision {
	if s.err != errAfresh || m.last[m.current] == nil { // it says less than any other
		m.last[m.current] = s.err
	}
	switch {
	case isRefusal(s.err):
		// Another mirror may have the right signature. Bytes that are not the signed ones
		// are not gone on with, whatever their digest is.
		m.dead[m.current] = s.err
		return m.nextMirror(decision{fresh: s.err.Code == CodeBadSignature})
	case s.wrong:
		return m.afterWrong(s)
	case s.err.Permanent:
		m.dead[m.current] = s.err
		return m.nextMirror(decision{})
	default:
		return m.afterPassing(s)
	}
}

// afterWrong gives a mirror up that twice sent something else. Bytes of mixed
// origin prove nothing about it.
func (m *mirrors) afterWrong(s setback) decision {
	if s.pure {
		if m.wrong[m.current]++; m.wrong[m.current] >= wrongDigests {
			m.dead[m.current] = &Error{Code: s.err.Code, Permanent: true, Err: s.err}
		}
	}
	d := decision{fresh: true}
	if m.restarts++; m.restarts > m.retries+wrongDigests*len(m.urls) {
		return decision{err: m.giveUp(s.err)}
	}
	if s.pure {
		return m.nextMirror(d)
	}
	return d
}

func (m *mirrors) afterPassing(s setback) decision {
	if s.gained >= progressBytes {
		m.failures = 0
	}
	if m.failures++; m.failures > m.retries+len(m.urls)-1 { // each has its turn, however few retries there are
		return decision{err: m.giveUp(s.err)}
	}
	before := m.current
	d := m.nextMirror(decision{})
	if m.current <= before { // every mirror has had its turn
		d.wait = jitter.Backoff(retryBase, retryCap, m.failures)
	}
	if m.current == before && s.wait > 0 {
		if s.wait > maxRetryAfter {
			return decision{err: m.giveUp(s.err)}
		}
		d.wait = max(d.wait, s.wait)
	}
	return d
}

// nextMirror moves on to the next mirror that is not given up. When there is none,
// that is the end.
func (m *mirrors) nextMirror(d decision) decision {
	for i := 1; i <= len(m.urls); i++ {
		if at := (m.current + i) % len(m.urls); m.dead[at] == nil {
			m.current = at
			return d
		}
	}
	return decision{err: m.allDead()}
}

// allDead is one error for all mirrors, with the last one's reason, or that of one that only
// lacks the right signature: it may come to have it, so that this is not for good.
func (m *mirrors) allDead() *Error {
	for _, e := range m.dead {
		if isRefusal(e) {
			return m.giveUp(e)
		}
	}
	e := m.giveUp(m.dead[m.current])
	e.Permanent = true
	return e
}

// giveUp is the end that last brought, with what is wrong with every mirror.
func (m *mirrors) giveUp(last *Error) *Error {
	if len(m.urls) == 1 {
		return last
	}
	said := make([]string, 0, len(m.urls))
	for at, e := range m.last {
		switch {
		case m.dead[at] != nil:
			said = append(said, m.dead[at].Error())
		case e != nil:
			said = append(said, e.Error())
		}
	}
	return &Error{Code: last.Code, Err: errors.New("no mirror has it: " + strings.Join(said, "; "))}
}
