package meta

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxProbe is how much of an answer to a probe is read.
const maxProbe = 4 << 10

// ProbeResult is what [Client.Probe] found of one server: it answered when Err
// is nil, whatever it said.
type ProbeResult struct {
	Server  string
	Date    time.Time // its clock, or zero
	Status  int       // HTTP status of its answer
	Message string    // what it said with a status that is no success
	Err     error
}

// Refused reports whether the server, or a proxy before it, does not take what
// this client shows of itself.
func (r ProbeResult) Refused() bool {
	switch r.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return true
	}
	return false
}

// Probe asks every server for a sign of life and whether it takes the
// credential for host, without reporting anything: it sends the beginning of a
// heartbeat, which names the host and is no JSON. A server asks who sends
// before it reads what, and answers the rest with a refusal of the body.
func (c *Client) Probe(ctx context.Context, host string, patience time.Duration) []ProbeResult {
	body, err := json.Marshal(map[string]string{"hostname": host})
	if err != nil {
		body = []byte("{}")
	}
	body = body[:len(body)-1]
	var results []ProbeResult
	for _, s := range c.servers {
		results = append(results, c.probeServer(ctx, s, body, patience))
	}
	return results
}

func (c *Client) probeServer(ctx context.Context, s *serverState, body []byte, patience time.Duration) (r ProbeResult) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no answer within %s", patience))
	defer cancel()
	for _, d := range s.dialectsToTry(c.dialect, time.Now()) {
		var other bool
		if r, other = c.probePath(ctx, s.base, d, body); r.Err != nil || !other {
			return r
		}
	}
	return r
}

// probePath also tells whether the server does not know the path.
func (c *Client) probePath(ctx context.Context, base string, d Dialect, body []byte) (r ProbeResult, other bool) {
	r.Server = base
	response, err := c.http.R().SetContext(ctx).SetHeader("Content-Type", "application/json").SetBody(body).Post(base + pathOf(d))
	if response != nil && response.RawBody() != nil {
		defer func() { _ = response.RawBody().Close() }()
	}
	switch {
	case err != nil && ctx.Err() != nil: // it was we who did not wait longer
		r.Err = context.Cause(ctx)
		return r, false
	case err != nil:
		r.Err = plainError(err)
		return r, false
	}
	r.Status, r.Date = response.StatusCode(), serverTime(response.Header())
	data, _ := io.ReadAll(io.LimitReader(response.RawBody(), maxProbe)) // it has answered; the text is for people
	if r.Status != http.StatusOK {
		r.Message = refusalText(data)
	}
	return r, otherDialect(d, r.Status, response.Header(), data) != nil
}
