package bodies_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ops-updater/ops-updater/meta/internal/bodies"
)

// pipes is a listener whose connections are in this process, so that time can
// be that of synctest.
type pipes struct{ accept chan net.Conn }

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p.accept
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// arrived is how the reading of one body ended, and when.
type arrived struct {
	err   error
	bytes int
	took  time.Duration
}

// send has a server read the body that write writes, of a length announced.
func send(t *testing.T, length string, write func(io.Writer)) (got arrived) {
	arrivals := bodies.NewArrivals(0)
	done := make(chan arrived, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var buf bytes.Buffer
		begun := time.Now()
		err := arrivals.Read(bodies.Exchange{W: w, R: r, From: func() string { return "192.0.2.1" }, Limit: 1 << 20}, &buf)
		done <- arrived{err, buf.Len(), time.Since(begun)}
	})}
	l := pipes{make(chan net.Conn)}
	go func() { _ = srv.Serve(l) }()
	ours, theirs := net.Pipe()
	l.accept <- theirs
	var peer sync.WaitGroup
	defer peer.Wait()
	peer.Go(func() { _, _ = io.Copy(io.Discard, ours) })
	peer.Go(func() {
		_, _ = io.WriteString(ours, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "+length+"\r\n\r\n")
		write(ours)
	})
	got = <-done
	_ = ours.Close()
	close(l.accept)
	_ = srv.Close()
	return got
}

func TestABodyHasSeconds(t *testing.T) {
	cases := []struct {
		name, length string
		write        func(io.Writer)
		want         error
		most         time.Duration
		bytes        int
	}{
		{"whole", "3", func(w io.Writer) { _, _ = io.WriteString(w, "abc") }, nil, 0, 3},
		{"nothing comes", "3", func(io.Writer) {}, bodies.ErrSlow, 10 * time.Second, 0},
		{"a byte now and then", "1000", func(w io.Writer) {
			for range 1000 {
				if _, err := io.WriteString(w, "a"); err != nil {
					return
				}
				time.Sleep(700 * time.Millisecond)
			}
		}, bodies.ErrSlow, 10 * time.Second, 15},
		{"large over a slow line", "524288", func(w io.Writer) {
			for range 32 {
				_, _ = w.Write(make([]byte, 16<<10))
				time.Sleep(time.Second)
			}
		}, nil, 31 * time.Second, 524288},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := send(t, c.length, c.write)
				if !errors.Is(got.err, c.want) || got.took > c.most || got.bytes != c.bytes {
					t.Errorf("got %+v, want %v within %v", got, c.want, c.most)
				}
			})
		})
	}
}
