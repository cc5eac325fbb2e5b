package meta

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/ops-updater/ops-updater/meta/trust"
)

// DialectAuto lets a [Client] find out which dialect a server speaks: it tries
// the newer one, falls back to the older one, remembers what worked and asks
// again now and then.
const DialectAuto Dialect = "auto"

// Limits on what a server may make a client wait for or remember.
const (
	requestTimeout = 30 * time.Second
	maxRetryAfter  = time.Hour
	recheckDialect = time.Hour        // how long the older dialect is used before the newer one is tried again
	asideAfterFail = 10 * time.Minute // how long a server that failed is only asked after the others
)

// ClientConfig says which servers a [Client] asks and how.
type ClientConfig struct {
	Servers  []string // host:port or http(s) URL, in order of preference
	Dialect  Dialect  // DialectAuto, or the one to insist on
	Token    string   // bearer credential, sent to these servers only; or empty
	Proxy    string   // URL; empty: from the environment
	CAFile   string   // PEM; empty: the system's
	CertFile string   // PEM client certificate, or empty
	KeyFile  string   // its key
	Insecure bool     // don't verify the server's certificate

	// Believe, unless nil, is asked whether a whole reply is believed: its exact
	// bytes, its signature's header, what it says of itself and the name that the
	// heartbeat had. An error passes the server over.
	Believe func(body []byte, signature string, said trust.Statement, host string) error

	UserAgent string
	Timeout   time.Duration // of one request; 0: 30 s
}

// Client posts heartbeats. It is not safe for concurrent use: one host has one
// heartbeat at a time.
type Client struct {
	http      *resty.Client
	transport *http.Transport
	dialect   Dialect
	servers   []*serverState
	believe   func(body []byte, signature string, said trust.Statement, host string) error

	// The entity tag of the last reply handed out, valid only where it came
	// from: a second server's tag says nothing about the first one's reply.
	tag       string
	tagServer *serverState
	tagPath   string
}

// serverState is what the client remembers of one server.
type serverState struct {
	base      string
	dialect   Dialect   // that worked last, or empty
	recheck   time.Time // when DialectV1 is tried again although DialectLegacy works
	aside     time.Time // until then the others come first, because it failed
	notBefore time.Time // it said so with Retry-After
}

// Reply is a server's answer to a heartbeat, checked.
type Reply struct {
	HeartbeatResponse            // DesiredAgents holds only valid ones
	Rejected          []Rejected // the other ones

	Unchanged bool    // 304: the previous reply still holds; only Server, Dialect and Date are set
	Dialect   Dialect // how to read addresses in DesiredAgents
	Server    string
	Date      time.Time // the server's clock, or zero
	Passed    error     // why servers earlier in the order were passed over, or nil
}

// Rejected is an agent of a reply that breaks the contract.
type Rejected struct {
	Name   string `json:"name"` // empty when not even that could be read
	Reason string `json:"reason"`
}

// BeatError is why one server did not answer a heartbeat with a desired state.
type BeatError struct {
	Server     string
	Status     int           // HTTP status, or 0 when there was none
	RetryAfter time.Duration // as the server asked, capped at an hour; or 0
	Err        error
}

func (e *BeatError) Error() string { return e.Server + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *BeatError) Unwrap() error { return e.Err }

// NewClient checks config and reads the certificates it names.
func NewClient(config ClientConfig) (*Client, error) {
	if len(config.Servers) == 0 {
		return nil, errors.New("no server is configured")
	}
	c := &Client{dialect: cmp.Or(config.Dialect, DialectAuto), believe: config.Believe}
	for _, s := range config.Servers {
		base, err := ServerURL(s)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, &serverState{base: base})
	}
	transport, err := newTransport(config)
	if err != nil {
		return nil, err
	}
	c.transport = transport
	c.http = resty.NewWithClient(&http.Client{
		Transport:     transport,
		Timeout:       cmp.Or(config.Timeout, requestTimeout),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	c.http.SetLogger(silent{}).SetDoNotParseResponse(true).SetHeader("Accept", "application/json")
	if config.UserAgent != "" {
		c.http.SetHeader("User-Agent", config.UserAgent)
	}
	if config.Token != "" {
		c.http.SetAuthScheme("Bearer").SetAuthToken(config.Token).SetDisableWarn(true)
	}
	return c, nil
}

// silent keeps resty from writing to stderr; errors are returned anyway.
type silent struct{}

func (silent) Errorf(string, ...any) {}
func (silent) Warnf(string, ...any)  {}
func (silent) Debugf(string, ...any) {}

// Close drops idle connections. The client can still be used.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Forget makes the next heartbeat ask for the whole desired state, for a
// caller that could not keep the last one.
func (c *Client) Forget() { c.tag, c.tagServer = "", nil }

// Beat posts request to the first server that answers. Its error joins one
// [BeatError] per server; [RetryAfter] reads it.
func (c *Client) Beat(ctx context.Context, request HeartbeatRequest) (Reply, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return Reply{}, fmt.Errorf("cannot encode the heartbeat: %w", err)
	}
	var passed []error
	for _, s := range inOrder(c.servers, time.Now()) {
		reply, err := c.askServer(ctx, s, report{body, request.Hostname})
		if err == nil {
			s.aside, s.notBefore = time.Time{}, time.Time{}
			reply.Passed = errors.Join(passed...)
			return reply, nil
		}
		if ctx.Err() != nil {
			return Reply{}, ctx.Err()
		}
		s.noteFailed(err, time.Now())
		passed = append(passed, err)
	}
	return Reply{}, errors.Join(passed...)
}

// RetryAfter is the longest wait that a server asked for in an error of
// [Client.Beat], or 0.
func RetryAfter(err error) time.Duration {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		longest := time.Duration(0)
		for _, e := range joined.Unwrap() {
			longest = max(longest, RetryAfter(e))
		}
		return longest
	}
	if be, ok := errors.AsType[*BeatError](err); ok {
		return be.RetryAfter
	}
	return 0
}

// inOrder is the configured order, with servers that failed lately last.
func inOrder(servers []*serverState, now time.Time) []*serverState {
	sorted := slices.Clone(servers)
	slices.SortStableFunc(sorted, func(a, b *serverState) int {
		return cmp.Compare(boolInt(a.aside.After(now)), boolInt(b.aside.After(now)))
	})
	return sorted
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (s *serverState) noteFailed(err error, now time.Time) {
	s.aside = now.Add(asideAfterFail)
	if after := RetryAfter(err); after > 0 {
		s.notBefore = now.Add(after)
	}
}

// report is a heartbeat as it is sent.
type report struct {
	body []byte
	host string
}

// askServer posts to one server, in the dialects worth trying.
func (c *Client) askServer(ctx context.Context, s *serverState, r report) (Reply, error) {
	if wait := time.Until(s.notBefore); wait > 0 {
		err := fmt.Errorf("asked not to be asked for another %v", wait.Round(time.Second))
		return Reply{}, &BeatError{Server: s.base, RetryAfter: wait, Err: err}
	}
	var wrong []error
	for _, d := range s.dialectsToTry(c.dialect, time.Now()) {
		reply, err := c.postReport(ctx, s, d, r)
		if _, other := errors.AsType[*dialectError](err); other && c.dialect == DialectAuto {
			wrong = append(wrong, err)
			continue
		}
		if err == nil {
			s.noteDialect(d, time.Now())
		}
		return reply, err
	}
	return Reply{}, &BeatError{Server: s.base, Err: fmt.Errorf("no heartbeat in either dialect, is this an ops-meta? %w", errors.Join(wrong...))}
}

// dialectsToTry lists what to try on s, most promising first.
func (s *serverState) dialectsToTry(configured Dialect, now time.Time) []Dialect {
	switch {
	case configured != DialectAuto:
		return []Dialect{configured}
	case s.dialect == DialectLegacy && now.Before(s.recheck):
		return []Dialect{DialectLegacy, DialectV1}
	}
	return []Dialect{DialectV1, DialectLegacy}
}

func (s *serverState) noteDialect(d Dialect, now time.Time) {
	if d == DialectLegacy && !now.Before(s.recheck) {
		s.recheck = now.Add(recheckDialect)
	}
	s.dialect = d
}
