package provider

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
)

// Bounds of what is asked of the provider.
const (
	answerWithin = 10 * time.Second // each request
	maxAnswer    = 1 << 20          // bytes of each reply
)

// newHTTPClient is a client that follows nobody elsewhere and reads no endless reply.
func newHTTPClient(caFile string) (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := plainfile.ReadLinked(caFile, meta.MaxCertificates)
		if err != nil {
			return nil, fmt.Errorf("cannot read oidc.ca: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use oidc.ca %s: there is no PEM certificate in it", caFile)
		}
	}
	return &http.Client{
		Timeout: answerWithin,
		Transport: bounded{&http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, ForceAttemptHTTP2: true,
			DialContext:         (&net.Dialer{Timeout: answerWithin / 2}).DialContext,
			TLSHandshakeTimeout: answerWithin / 2, MaxResponseHeaderBytes: 64 << 10, MaxIdleConns: 4, IdleConnTimeout: time.Minute,
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errElsewhere },
	}, nil
}

var (
	errElsewhere = errors.New("it sends elsewhere, which is not followed")
	errClear     = errors.New("it is to be asked without TLS, by way of the network")
	errEndless   = fmt.Errorf("its reply is larger than %d bytes", maxAnswer)
)

// bounded bounds replies, and asks nobody without TLS but this machine: the
// provider's own description says where else it is asked.
type bounded struct{ next *http.Transport }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if !isSafe(r.URL) {
		return nil, errClear
	}
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, err
}

// isSafe reports whether nobody between reads what is asked.
func isSafe(u *url.URL) bool {
	if u.Scheme == "https" {
		return u.Host != ""
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && (err == nil && addr.IsLoopback() || u.Hostname() == "localhost")
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errEndless
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
