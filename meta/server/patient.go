package server

import (
	"net/http"
	"time"
)

// stall is how long a download may stand still.
const stall = 2 * time.Minute

// patient moves a reply's deadline on with every write, so that a large file
// may take long over a slow line but never stand still.
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
