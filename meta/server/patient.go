package server

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// How long an exchange may take: a body begins at once and keeps a pace, and
// nothing stands still for long.
const (
	stall    = 2 * time.Minute
	beginsIn = 10 * time.Second
	pace     = 1 << 10 // bytes a second
)

// patientExchange lets an exchange take as long as it needs while it moves:
// large files over slow lines, and streams of events without an end.
func patientExchange(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := newPatient(w)
		r.Body = &patientBody{ReadCloser: r.Body, rc: p.rc, started: time.Now()}
		if r.ContentLength == 0 {
			_ = p.rc.SetReadDeadline(time.Time{}) // else it would end the request's context
		}
		h.ServeHTTP(p, r)
	})
}

// patient moves a reply's deadline on with every write.
type patient struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func newPatient(w http.ResponseWriter) *patient {
	return &patient{w, http.NewResponseController(w)}
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(stall))
	return p.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the connection.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// patientBody moves a request's deadline on with what arrives, and ends it
// with the body.
type patientBody struct {
	io.ReadCloser
	rc       *http.ResponseController
	started  time.Time
	received int64
	yielded  bool
}

func (b *patientBody) Read(p []byte) (int, error) {
	if !b.yielded {
		_ = b.rc.SetReadDeadline(b.deadline(time.Now()))
	}
	n, err := b.ReadCloser.Read(p)
	b.received += int64(n)
	if errors.Is(err, io.EOF) {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

func (b *patientBody) deadline(now time.Time) time.Time {
	earned := b.started.Add(beginsIn + time.Duration(b.received/pace)*time.Second)
	if still := now.Add(stall); still.Before(earned) {
		return still
	}
	return earned
}

// YieldDeadline leaves the deadline to the reader.
func (b *patientBody) YieldDeadline() { b.yielded = true }
