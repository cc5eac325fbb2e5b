package api

import (
	"context"
	"io"
	"net/http"
	"sync"
)

type remoteAddrKey struct{}

// WithRemoteAddr makes calls through a [HandlerTransport] appear to come from
// addr (host:port), so that limits and the audit log see the person and not
// the page in between.
func WithRemoteAddr(ctx context.Context, addr string) context.Context {
	return context.WithValue(ctx, remoteAddrKey{}, addr)
}

// HandlerTransport answers requests from h in this process, without a
// network. Replies stream, so that a change feed works through it.
func HandlerTransport(h http.Handler) http.RoundTripper { return handlerTransport{h} }

type handlerTransport struct{ handler http.Handler }

// RoundTrip returns when the handler has written its header; the rest comes
// through the body, whose Close ends the handler's context.
func (t handlerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	inner := req.Clone(ctx)
	inner.RequestURI = req.URL.RequestURI()
	inner.Host = req.URL.Host
	inner.RemoteAddr = "127.0.0.1:0"
	if addr, ok := ctx.Value(remoteAddrKey{}).(string); ok {
		inner.RemoteAddr = addr
	}
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	r, w := io.Pipe()
	out := &pipeWriter{header: http.Header{}, body: w, ready: make(chan struct{})}
	go func() {
		defer func() {
			cause := io.EOF
			if recover() != nil {
				out.WriteHeader(http.StatusInternalServerError)
				cause = io.ErrUnexpectedEOF
			}
			out.WriteHeader(http.StatusOK)
			_ = w.CloseWithError(cause)
			_ = inner.Body.Close()
		}()
		t.handler.ServeHTTP(out, inner)
	}()
	select {
	case <-out.ready:
	case <-ctx.Done():
		cancel()
		_ = r.CloseWithError(ctx.Err())
		return nil, context.Cause(req.Context())
	}
	return &http.Response{
		Status: http.StatusText(out.status), StatusCode: out.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: out.sent, Body: &pipeBody{PipeReader: r, cancel: cancel}, ContentLength: -1, Request: req,
	}, nil
}

// pipeWriter is the handler's side: the first write makes header and status
// known to RoundTrip.
type pipeWriter struct {
	header http.Header
	sent   http.Header // a copy that later writes of the handler do not change
	status int
	body   *io.PipeWriter
	once   sync.Once
	ready  chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.ready)
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Flush has nothing to do: the pipe has no buffer.
func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }

type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}
