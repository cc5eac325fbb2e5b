package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxReply bounds what a server can make the client keep in memory.
const maxReply = 64 << 20

// ClientConfig says which server to speak to, and as whom.
type ClientConfig struct {
	Server    string            // http(s)://host:port, or host:port for plain HTTP
	Token     string            // bearer token; empty: none
	TLS       *tls.Config       // nil: the system's
	Transport http.RoundTripper // nil: the network; see [HandlerTransport]
	Timeout   time.Duration     // of a call that carries no file; 0: one minute
	UserAgent string
}

// Client speaks /api/v1. Its methods return a *[Problem] when the server
// refuses, and are safe for parallel use.
type Client struct {
	base    *url.URL
	token   string
	agent   string
	timeout time.Duration
	http    *http.Client
}

// NewClient checks the configuration; it does not connect.
func NewClient(c ClientConfig) (*Client, error) {
	server := c.Server
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	base, err := url.Parse(server)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("cannot use server %q: want host:port or an http or https URL", c.Server)
	}
	base.Path = strings.TrimRight(base.Path, "/")
	transport := c.Transport
	if transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = c.TLS
		transport = t
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = time.Minute
	}
	return &Client{base: base, token: c.Token, agent: c.UserAgent, timeout: timeout, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// WithToken is the same client as somebody else.
func (c *Client) WithToken(token string) *Client {
	other := *c
	other.token = token
	return &other
}

// Server is the address the client speaks to.
func (c *Client) Server() string { return c.base.String() }

// call is one request to /api/v1.
type call struct {
	method   string
	path     []string // below /api/v1, each one segment
	query    url.Values
	body     any       // encoded as JSON
	raw      io.Reader // instead of body
	rawType  string    // Content-Type of raw
	rawSize  int64     // bytes of raw; 0: not known
	revision int64     // If-Match; 0: none
	as       FetchAs   // how the server fetches
}

func (c *Client) buildRequest(ctx context.Context, r call) (*http.Request, error) {
	body, contentType := r.raw, r.rawType
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("cannot encode the request: %w", err)
		}
		body, contentType = bytes.NewReader(data), "application/json"
	}
	var address strings.Builder
	address.WriteString(c.base.String() + "/api/v1")
	for _, segment := range r.path {
		if segment == "" || segment == "." || segment == ".." { // an address cannot carry it
			return nil, &Error{Kind: KindNotFound, Message: fmt.Sprintf("nothing is called %q", segment), Hint: "give the name of one that there is"}
		}
		address.WriteString("/" + url.PathEscape(segment))
	}
	if len(r.query) > 0 {
		address.WriteString("?" + r.query.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address.String(), body)
	if err != nil {
		return nil, err
	}
	if r.rawSize > 0 {
		req.ContentLength = r.rawSize
	}
	c.setHeaders(req, contentType, r.revision)
	r.as.setHeader(req.Header)
	return req, nil
}

func (c *Client) setHeaders(req *http.Request, contentType string, revision int64) {
	req.Header.Set("Accept", "application/json, application/problem+json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.agent != "" {
		req.Header.Set("User-Agent", c.agent)
	}
	switch {
	case revision == MustNotExist:
		req.Header.Set("If-None-Match", "*")
	case revision > 0:
		req.Header.Set("If-Match", ETag(revision))
	}
}

// ETag is the entity tag of a revision.
func ETag(revision int64) string { return fmt.Sprintf("%q", fmt.Sprint(revision)) }

// sendCall makes the call and returns the reply of a success; its body is the
// caller's to close.
func (c *Client) sendCall(ctx context.Context, r call) (*http.Response, error) {
	req, err := c.buildRequest(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachableError(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	return nil, readProblem(resp)
}

// Unreachable is the error of a call that got no answer.
type Unreachable struct {
	Server string
	Err    error
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("cannot reach ops-meta at %s: %v", e.Server, e.Err)
}

func (e *Unreachable) Unwrap() error { return e.Err }

func (c *Client) unreachableError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var transport *url.Error // repeats method and address
	if errors.As(err, &transport) {
		err = transport.Err
	}
	return &Unreachable{Server: c.base.String(), Err: err}
}

// readProblem makes a Problem of any refusal, also one that a proxy in
// between wrote.
func readProblem(resp *http.Response) *Problem {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	p := &Problem{}
	if json.Unmarshal(data, p) != nil || p.Title == "" {
		p = &Problem{
			Type: "about:blank", Title: http.StatusText(resp.StatusCode),
			Detail: fmt.Sprintf("the server answered %s without saying why", resp.Status),
			Hint:   "check that the address is that of an ops-meta",
		}
		if bytes.Contains(data, []byte("HTTP request to an HTTPS server")) {
			p.Detail, p.Hint = "the server speaks TLS", "begin its address with https://"
		}
	}
	p.Status = resp.StatusCode
	return p
}

// readReply makes the call and decodes the reply into T.
func readReply[T any](ctx context.Context, c *Client, r call) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout,
		fmt.Errorf("ops-meta at %s did not answer within %s", c.base, c.timeout))
	defer cancel()
	return readSlowly[T](ctx, c, r)
}

// readSlowly is read for calls that may take as long as they need.
func readSlowly[T any](ctx context.Context, c *Client, r call) (T, error) {
	var out T
	resp, err := c.sendCall(ctx, r)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&out); err != nil {
		return out, fmt.Errorf("cannot read the reply of %s: %w", c.base, err)
	}
	return out, nil
}

func getResource[T any](ctx context.Context, c *Client, query url.Values, path ...string) (T, error) {
	return readReply[T](ctx, c, call{method: http.MethodGet, path: path, query: query})
}

func (c *Client) deleteResource(ctx context.Context, revision int64, path ...string) error {
	_, err := readReply[struct{}](ctx, c, call{method: http.MethodDelete, path: path, revision: revision})
	return err
}

// All follows a listing to its end: list is called with the cursor of each
// page in turn.
func All[T any](list func(cursor string) (Page[T], error)) ([]T, error) {
	var all []T
	for cursor := ""; ; {
		page, err := list(cursor)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, nil
		}
		cursor = page.Next
	}
}

// Version asks what the server is; no token is needed.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return getResource[Version](ctx, c, nil, "version")
}

// WhoAmI asks who the server takes the caller for.
func (c *Client) WhoAmI(ctx context.Context) (Identity, error) {
	return getResource[Identity](ctx, c, nil, "whoami")
}

// Overview asks for the fleet at a glance.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	return getResource[Overview](ctx, c, nil, "overview")
}

// Doctor asks the server to examine itself.
func (c *Client) Doctor(ctx context.Context) ([]Check, error) {
	return getResource[[]Check](ctx, c, nil, "doctor")
}

// Enroll exchanges an enrolment token, the client's, for a host's credential.
func (c *Client) Enroll(ctx context.Context, e Enrolment) (Credential, error) {
	return readReply[Credential](ctx, c, call{method: http.MethodPost, path: []string{"enroll"}, body: e})
}

// Backup writes an archive of the running server's data to w: a tar.gz that
// `ops-meta restore` takes.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	resp, err := c.sendCall(ctx, call{method: http.MethodPost, path: []string{"backup"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("cannot receive the backup: %w", err)
	}
	return nil
}
