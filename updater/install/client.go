package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
)

const (
	maxRedirects   = 5
	connectTimeout = 15 * time.Second
	headerLimit    = 64 << 10
)

// silent keeps resty from writing to standard error: we return errors.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

// newClient makes the HTTP client of one job. It has no total timeout: bodies
// are watched by [stream].
func newClient(r job.Route, stall time.Duration) (*resty.Client, error) {
	through := http.ProxyFromEnvironment
	if r.Proxy != "" {
		u, err := url.Parse(r.Proxy)
		if err != nil || u.Host == "" {
			return nil, failedForGood(CodeBadJob, "cannot use the proxy: it is not a URL such as http://proxy:3128")
		}
		through = http.ProxyURL(u)
	}
	trust, err := tlsOf(r)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig:        trust,
		Proxy:                  through,
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		ResponseHeaderTimeout:  stall,
		MaxResponseHeaderBytes: headerLimit,
		IdleConnTimeout:        connectTimeout,
		ReadBufferSize:         64 << 10,
		DisableCompression:     true, // the tarball's own bytes are wanted
		ForceAttemptHTTP2:      true,
	}
	c := resty.NewWithClient(&http.Client{Transport: transport}).
		SetLogger(silent{}).
		SetDoNotParseResponse(true).
		SetHeader("User-Agent", "ops-updater").
		SetRedirectPolicy(resty.RedirectPolicyFunc(checkRedirect), resty.RedirectPolicyFunc(allowedHosts(r.Hosts)))
	return c, nil
}

// tlsOf is whom to believe. What is downloaded may be kept on a server of the
// world, so the system's authorities stay.
func tlsOf(r job.Route) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: r.Insecure} //nolint:gosec // asked for by the configuration, with a warning
	if r.CA == "" {
		return c, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM([]byte(r.CA)) {
		return nil, failedForGood(CodeBadJob, "cannot verify servers: ca_file holds no PEM certificate")
	}
	c.RootCAs = pool
	return c, nil
}

var errRedirect = errors.New("redirect refused")

// checkRedirect follows a few redirects over http and https, never from https
// down to http, and hands no credentials to another host.
func checkRedirect(next *http.Request, via []*http.Request) error {
	last := via[len(via)-1].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d", errRedirect, maxRedirects)
	case next.URL.Scheme != "http" && next.URL.Scheme != "https":
		return fmt.Errorf("%w: it leads to %s, which is neither http nor https", errRedirect, meta.RedactURL(next.URL.String()))
	case last.Scheme == "https" && next.URL.Scheme != "https":
		return fmt.Errorf("%w: it leads from https to %s", errRedirect, meta.RedactURL(next.URL.String()))
	}
	if next.URL.Host != via[0].URL.Host {
		for _, h := range []string{"Authorization", "Cookie", "Proxy-Authorization", "Referer"} {
			next.Header.Del(h)
		}
	}
	return nil
}

// allowedHosts keeps redirects on the hosts that this host's policy lists.
func allowedHosts(hosts []string) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, _ []*http.Request) error {
		if !meta.ListsHost(hosts, next.URL.String()) {
			return fmt.Errorf("%w: policy.tarball_hosts of this host does not list %s", errRedirect, next.URL.Host)
		}
		return nil
	}
}

// explainUnreached explains why a request got no answer.
func explainUnreached(ctx context.Context, where string, err error) *Error {
	if ue, ok := errors.AsType[*url.Error](err); ok { // it names the address with all that is in it
		err = ue.Err
	}
	switch {
	case ctx.Err() != nil:
		return failedBecause(CodeCancelled, "cannot download %s: %w", where, context.Cause(ctx))
	case errors.Is(err, errRedirect):
		return failedForGood(CodeBadRedirect, "cannot download %s: %w", where, err)
	case strings.Contains(err.Error(), http.StatusText(http.StatusProxyAuthRequired)): // to a CONNECT
		return failedBecause(CodeProxy, "cannot download %s: a proxy on the way wants a user and a password: set proxy in cfg.json to http://USER:PASSWORD@HOST:PORT: %w", where, err)
	default:
		return failedBecause(CodeUnreachable, "cannot download %s: %w", where, err)
	}
}

// refusedBy explains an answer that is no success.
func refusedBy(where string, status int) *Error {
	const form = "cannot download %s: the server answers %d %s"
	text := http.StatusText(status)
	switch {
	case status == http.StatusProxyAuthRequired: // the proxy may be mended, the release is not at fault
		return failedBecause(CodeProxy, form+": a proxy on the way wants a user and a password: set proxy in cfg.json to http://USER:PASSWORD@HOST:PORT", where, status, text)
	case status == http.StatusNotFound || status == http.StatusGone:
		return failedForGood(CodeNotFound, form, where, status, text)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return failedForGood(CodeForbidden, form, where, status, text)
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return failedBecause(CodeServerBusy, form, where, status, text)
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly:
		return failedBecause(CodeServerError, form, where, status, text)
	case status >= 400 && status < 500:
		return failedForGood(CodeRefused, form, where, status, text)
	default:
		return failedBecause(CodeServerError, form, where, status, text)
	}
}

// longestRetryAfter bounds what a server may say; a run ends long before.
const longestRetryAfter = 24 * time.Hour

// retryAfter is how long the server asks us to wait; 0 when it does not.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(v, 10, 64); err == nil {
		// In this order: a product of what is out of bounds may be anything.
		return time.Duration(min(max(seconds, 0), int64(longestRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), longestRetryAfter)
	}
	return 0
}

// isWeb reports whether raw is an http or https URL with a host.
func isWeb(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Hostname() != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// discardBody ends a response that is of no further use.
func discardBody(body io.ReadCloser) { _ = body.Close() }
