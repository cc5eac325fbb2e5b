package server

import (
	"io"
	"net/http"
	"time"
)

// stall is how long an exchange may stand still.
const stall = 2 * time.Minute

// patientExchange lets an exchange take as long as it needs while it moves:
// large files over slow lines, and streams of events without an end.
func patientExchange(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := newPatient(w)
		r.Body = &patientBody{r.Body, p.rc}
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

// patientBody moves a request's deadline on with every read, and ends it with
// the body.
type patientBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(time.Now().Add(stall))
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
