package install

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/time/rate"
)

// stallBytes is what must arrive within the stall timeout: less is a server
// that only pretends to send.
const stallBytes = 4 << 10

// slowRate is how many bytes a second a mirror must send for others not to be tried
// instead.
const slowRate = 16 << 10

var (
	errStalled = errors.New("next to nothing arrives")
	errSlow    = errors.New("little arrives, and there is another mirror")
)

// stream reads a body at no more than the allowed rate and cuts it off when it
// stalls. Only the time spent waiting for the server counts.
type stream struct {
	ctx     context.Context
	body    io.Reader
	limiter *rate.Limiter // nil: unlimited
	watch   *time.Timer   // cancels the request
	cancel  context.CancelCauseFunc
	patient time.Duration
	least   int           // bytes within patient
	left    time.Duration // until it counts as stalled
	got     int           // since left was full
}

// newStream wraps body; cancel must end the request that body belongs to, and
// is called with errStalled.
func newStream(ctx context.Context, body io.Reader, limiter *rate.Limiter, patient time.Duration, cancel context.CancelCauseFunc) *stream {
	watch := time.AfterFunc(patient, func() { cancel(errStalled) })
	watch.Stop()
	return &stream{ctx: ctx, body: body, limiter: limiter, watch: watch, cancel: cancel, patient: patient, least: stallBytes, left: patient}
}

// wantRate cuts the body off, with errSlow, when fewer bytes a second arrive.
func (s *stream) wantRate(bytesPerSecond int) {
	least := int(s.patient.Seconds() * float64(bytesPerSecond))
	if least <= s.least {
		return
	}
	s.least, s.watch = least, time.AfterFunc(s.patient, func() { s.cancel(errSlow) })
	s.watch.Stop()
}

func newLimiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	burst := min(max(bytesPerSecond/4, 1<<10), chunkSize)
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(burst))
}

func (s *stream) Read(p []byte) (int, error) {
	if s.limiter != nil {
		p = p[:min(len(p), s.limiter.Burst())]
	}
	n, err := s.readWatched(p)
	if s.limiter != nil && n > 0 {
		if waited := s.limiter.WaitN(s.ctx, n); waited != nil && err == nil {
			err = waited
		}
	}
	return n, err
}

// readWatched reads once while the stall timer runs.
func (s *stream) readWatched(p []byte) (int, error) {
	started := time.Now()
	s.watch.Reset(s.left)
	n, err := s.body.Read(p)
	s.watch.Stop()
	if s.got += n; s.got >= s.least {
		s.got, s.left = 0, s.patient
		return n, err
	}
	s.left = max(time.Millisecond, s.left-time.Since(started))
	return n, err
}
