package updater

import (
	"time"

	"github.com/ops-updater/ops-updater/internal/jitter"
)

// Bounds of the interval that a server may steer, of the first wait after a
// failure, and of how soon the end of a transaction is reported.
const (
	minInterval = time.Second
	maxInterval = 24 * time.Hour
	retryFirst  = time.Second
	reportSoon  = 2 * time.Second
)

// pace decides when the next heartbeat goes out.
type pace struct {
	configured time.Duration
	steered    time.Duration // by the server; 0: not
	failures   int           // in a row
	notBefore  time.Time     // the server asked for a pause until then
}

// interval is what holds now.
func (p pace) interval() time.Duration {
	if p.steered > 0 {
		return p.steered
	}
	return p.configured
}

// afterReply notes a reply with the interval it asked for, in seconds.
func (p pace) afterReply(seconds int) pace {
	p.failures, p.notBefore, p.steered = 0, time.Time{}, 0
	if seconds > 0 {
		p.steered = min(max(time.Duration(min(seconds, int(maxInterval/time.Second)))*time.Second, minInterval), maxInterval)
	}
	return p
}

// afterFailure notes a heartbeat without a reply. after is what the server asked for
// with Retry-After, or 0.
func (p pace) afterFailure(now time.Time, after time.Duration) pace {
	p.failures++
	p.notBefore = time.Time{}
	if after > 0 {
		p.notBefore = now.Add(after)
	}
	return p
}

// waitFrom is the time until the next heartbeat.
func (p pace) waitFrom(now time.Time) time.Duration {
	pause := p.notBefore.Sub(now)
	switch {
	case pause > 0:
		return pause + jitter.First(min(pause/10, p.interval())) // never before, and not all at once after
	case p.failures > 0:
		return jitter.Backoff(min(retryFirst, p.interval()), p.interval(), p.failures)
	}
	return jitter.Around(p.interval())
}

// moveForward moves the next heartbeat forward, for news. While the server is away or
// asked for a pause, news wait with the rest.
func (p pace) moveForward(now, next time.Time) time.Time {
	if p.failures > 0 || now.Before(p.notBefore) {
		return next
	}
	at := now.Add(jitter.First(min(reportSoon, p.interval()/10)))
	if at.After(next) {
		return next
	}
	return at
}
