package meta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// maxReply bounds the bytes of a reply after decompression.
const maxReply = 4 << 20

// ServerURL is the base URL of a configured server: host:port means plain HTTP.
// Credentials and anything after the path are refused.
func ServerURL(server string) (string, error) {
	full := server
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(u.Hostname(), "${} ") {
		return "", fmt.Errorf("%q is not the address of a server", printable.Clip(RedactURL(server)))
	}
	if u.User != nil {
		return "", fmt.Errorf("the address of server %s holds a credential, use a token instead", u.Host)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q has something after its path", printable.Clip(RedactURL(server)))
	}
	return strings.TrimRight(full, "/"), nil
}

func newTransport(config ClientConfig) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         4 << 10,
		WriteBufferSize:        4 << 10,
	}
	if config.Proxy != "" {
		u, err := url.Parse(config.Proxy)
		if err != nil { // which holds the address, and its password
			return nil, errors.New("cannot use the proxy: it is not a URL such as http://proxy:3128")
		}
		t.Proxy = http.ProxyURL(u)
	}
	tc, err := tlsConfig(config)
	if err != nil {
		return nil, err
	}
	t.TLSClientConfig = tc
	return t, nil
}

// MaxCertificates is how large a file of certificates may be.
const MaxCertificates = 4 << 20

// LoadKeyPair reads a certificate and its key, which must be plain files.
func LoadKeyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := plainfile.ReadLinked(certFile, MaxCertificates)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := plainfile.ReadLinked(keyFile, MaxCertificates)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

func tlsConfig(config ClientConfig) (*tls.Config, error) {
	tc := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: config.Insecure}
	if config.CAFile != "" {
		pem, err := plainfile.ReadLinked(config.CAFile, MaxCertificates)
		if err != nil {
			return nil, fmt.Errorf("cannot read ca_file: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no PEM certificate", config.CAFile)
		}
	}
	if config.CertFile != "" {
		pair, err := LoadKeyPair(config.CertFile, config.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cannot use cert_file and key_file: %w", err)
		}
		tc.Certificates = []tls.Certificate{pair}
	}
	return tc, nil
}

// dialectError says that a server does not know this path: the other dialect
// may be the right one.
type dialectError struct{ path, found string }

func (e *dialectError) Error() string { return "POST " + e.path + " is answered by " + e.found }

func pathOf(d Dialect) string {
	if d == DialectLegacy {
		return PathLegacy
	}
	return PathV1
}

// postReport makes one exchange.
func (c *Client) postReport(ctx context.Context, s *serverState, d Dialect, r report) (Reply, error) {
	fail := func(status int, after time.Duration, err error) (Reply, error) {
		return Reply{}, &BeatError{Server: s.base, Status: status, RetryAfter: after, Err: err}
	}
	request := c.http.R().SetContext(ctx).SetHeader("Content-Type", "application/json").SetBody(r.body)
	request.Header["Idempotency-Key"] = nil // not sent; lets net/http retry when a kept connection turns out closed
	tagged := c.tagServer == s && c.tagPath == pathOf(d) && c.tag != ""
	if tagged {
		request.SetHeader("If-None-Match", c.tag)
	}
	response, err := request.Post(s.base + pathOf(d))
	if response != nil && response.RawBody() != nil {
		defer func() { _ = response.RawBody().Close() }()
	}
	if err != nil {
		return fail(0, 0, explainUnanswered(s, d, err))
	}
	status, header := response.StatusCode(), response.Header()
	reply := Reply{Dialect: d, Server: s.base, Date: serverTime(header)}
	if status == http.StatusNotModified {
		if !tagged {
			return fail(status, 0, errors.New("it says nothing changed, but it was not asked that"))
		}
		reply.Unchanged = true
		return reply, nil
	}
	data, err := readReply(response.RawBody())
	if err != nil {
		return fail(status, 0, fmt.Errorf("cannot read the reply: %w", err))
	}
	if other := otherDialect(d, status, header, data); other != nil {
		return fail(status, 0, other)
	}
	if status == http.StatusProxyAuthRequired {
		return fail(status, 0, errors.New("HTTP 407: a proxy on the way wants a user and a password: set proxy in cfg.json to http://USER:PASSWORD@HOST:PORT"))
	}
	if status != http.StatusOK {
		return fail(status, retryAfter(header, time.Now()), fmt.Errorf("HTTP %d: %s", status, refusalText(data)))
	}
	reply.HeartbeatResponse, reply.Rejected, err = DecodeReply(data)
	if err != nil {
		return fail(status, 0, err)
	}
	if c.believe != nil {
		if err := c.believe(data, header.Get(trust.ReplyHeader), reply.statement(), r.host); err != nil {
			return fail(status, 0, fmt.Errorf("its reply is not believed: %w", err))
		}
	}
	c.tag, c.tagServer, c.tagPath = header.Get("ETag"), s, pathOf(d)
	return reply, nil
}

// explainUnanswered explains a failed exchange. One old server closes the connection
// on a path that it does not know.
func explainUnanswered(s *serverState, d Dialect, err error) error {
	if d == DialectV1 && s.dialect != DialectV1 && errors.Is(err, io.EOF) {
		return &dialectError{pathOf(d), "a closed connection"}
	}
	return plainError(err)
}

// plainError takes off the "Post <url>:" that repeats what [BeatError] says.
func plainError(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

func readReply(body io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, maxReply+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxReply {
		return nil, fmt.Errorf("it is over %d bytes", maxReply)
	}
	return data, nil
}

// otherDialect recognises the ways in which servers answer a path that they
// don't know: not found, not allowed, plain text, a redirect to a login page or
// the page itself.
func otherDialect(d Dialect, status int, header http.Header, data []byte) error {
	switch {
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusGone, status == http.StatusNotImplemented:
		return &dialectError{pathOf(d), fmt.Sprintf("HTTP %d", status)}
	case status == http.StatusBadRequest && d == DialectV1 && strings.HasPrefix(header.Get("Content-Type"), "text/plain"):
		return &dialectError{pathOf(d), fmt.Sprintf("HTTP %d: %s", status, refusalText(data))} // as only old servers do
	case status >= 300 && status < 400:
		return &dialectError{pathOf(d), fmt.Sprintf("HTTP %d to %s, which is not followed", status, printable.Clip(header.Get("Location")))}
	case status != http.StatusOK || startsWith(data, "{"): // whatever its Content-Type
		return nil
	case strings.HasPrefix(header.Get("Content-Type"), "text/html"):
		return &dialectError{pathOf(d), "an HTML page"}
	case startsWith(data, "<"):
		return &dialectError{pathOf(d), "a page that is not JSON"}
	}
	return nil
}

// startsWith looks past the space before a reply's first character.
func startsWith(data []byte, first string) bool {
	return strings.HasPrefix(strings.TrimSpace(string(data[:min(len(data), 64)])), first)
}

// refusalText finds the one sentence that a failed reply has for us.
func refusalText(data []byte) string {
	var known struct{ ErrorMessage, Message, Detail, Title string }
	if json.Unmarshal(data, &known) == nil {
		for _, s := range []string{known.ErrorMessage, known.Message, known.Detail, known.Title} {
			if s != "" {
				return oneLine(s)
			}
		}
	}
	if line := oneLine(string(data)); line != "" {
		return line
	}
	return "no message"
}

// oneLine makes a stranger's text fit for a log line.
func oneLine(s string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return printable.Line(first)
}

// serverTime is when the server answered, by its own clock.
func serverTime(header http.Header) time.Time {
	t, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// retryAfter reads both forms of the header. A date is measured against the
// server's own clock, because ours may be wrong.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date := serverTime(header); !date.IsZero() {
		now = date
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
