package bodies

import (
	"io"
	"net/http"
	"time"
)

const (
	// What is left of a refused body is waited for while it moves, within bounds.
	farewellPause = 2 * time.Second
	farewellTime  = 10 * time.Second
	farewellBytes = 64 << 20
)

// LeaveUnread answers a request without its body: the connection is closed
// after the reply, and [DrainUnread] takes in what is still on its way.
func LeaveUnread(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // else net/http reads a part of the body before it replies
	_ = rc.SetReadDeadline(time.Now().Add(farewellPause))
}

// DrainUnread lets peers read the replies to bodies that [LeaveUnread] left: the
// reply goes out, and what still arrives is thrown away, for a few seconds and
// up to 64 MiB. A connection that is closed while bytes arrive is reset, and
// the reset overtakes the reply (RFC 9112, section 9.6).
func DrainUnread(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := r.Body
		h.ServeHTTP(w, r)
		if r.ProtoMajor != 1 || r.ContentLength == 0 || w.Header().Get("Connection") != "close" {
			return
		}
		rc := http.NewResponseController(w)
		if rc.Flush() == nil {
			discardUnread(rc, body)
		}
	})
}

func discardUnread(rc *http.ResponseController, body io.Reader) {
	started := time.Now()
	for received := int64(0); received < farewellBytes && time.Since(started) < farewellTime; {
		if rc.SetReadDeadline(time.Now().Add(farewellPause)) != nil {
			return
		}
		n, err := io.CopyN(io.Discard, body, Small)
		received += n
		if err != nil {
			return
		}
	}
}
