package bodies_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ops-updater/ops-updater/meta/internal/bodies"
)

// A peer that reads only after it has sent everything still gets its reply.
func TestARefusedBodyIsTakenInSoThatTheReplyArrives(t *testing.T) {
	const size = 9 << 20
	cases := []struct {
		name   string
		pause  time.Duration // between chunks of 1 MiB
		chunks int           // that the server takes in
	}{
		{"over a slow line", time.Second, 9},
		{"at a crawl", 1999 * time.Millisecond, 6},
		{"that stalls", 3 * time.Second, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				arrivals := bodies.NewArrivals(0)
				srv := &http.Server{Handler: bodies.DrainUnread(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					err := arrivals.Read(bodies.Exchange{W: w, R: r, From: func() string { return "192.0.2.1" }, Limit: 1 << 20}, &bytes.Buffer{})
					http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
				}))}
				l := pipes{make(chan net.Conn)}
				go func() { _ = srv.Serve(l) }()
				ours, theirs := net.Pipe()
				l.accept <- theirs
				var reply bytes.Buffer
				var reader sync.WaitGroup
				reader.Go(func() { _, _ = io.Copy(&reply, ours) })
				_, _ = fmt.Fprintf(ours, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
				taken := 0
				for range size >> 20 {
					if _, err := ours.Write(make([]byte, 1<<20)); err != nil {
						break
					}
					taken++
					time.Sleep(c.pause)
				}
				reader.Wait()
				if taken != c.chunks || !strings.HasPrefix(reply.String(), "HTTP/1.1 413 ") || !strings.Contains(reply.String(), "larger than") {
					t.Errorf("%d MiB were taken in, want %d; the reply is %.200q", taken, c.chunks, reply.String())
				}
				_ = ours.Close()
				close(l.accept)
				_ = srv.Close()
			})
		})
	}
}
