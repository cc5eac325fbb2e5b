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

var errStalled = errors.New("next to nothing arrives")

// stream reads a body at no more than the allowed rate and cuts it off when it
// stalls. Only the time spent waiting for the server counts.
type stream struct {
	ctx     context.Context
	body    io.Reader
	limiter *rate.Limiter // nil: unlimited
	watch   *time.Timer   // cancels the request
	patient time.Duration
	left    time.Duration // until it counts as stalled
	got     int           // since left was full
}

// newStream wraps body; cancel must end the request that body belongs to, and
// is called with errStalled.
func newStream(ctx context.Context, body io.Reader, limiter *rate.Limiter, patient time.Duration, cancel context.CancelCauseFunc) *stream {
	watch := time.AfterFunc(patient, func() { cancel(errStalled) })
	watch.Stop()
	return &stream{ctx: ctx, body: body, limiter: limiter, watch: watch, patient: patient, left: patient}
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
	if s.got += n; s.got >= stallBytes {
		s.got, s.left = 0, s.patient
		return n, err
	}
	s.left = max(time.Millisecond, s.left-time.Since(started))
	return n, err
}
