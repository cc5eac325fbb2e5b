package api

import (
	"context"
	"net/url"
	"time"
)

// Sample is how one agent stood over the fleet at a moment. The server takes
// one a minute of every agent and keeps them for a configured time.
type Sample struct {
	At       time.Time      `json:"at"`
	Agent    string         `json:"agent"`
	Hosts    int            `json:"hosts"`
	Failing  int            `json:"failing"`
	Drifted  int            `json:"drifted"`
	Versions map[string]int `json:"versions"` // hosts by reported version
}

// History lists samples, the oldest first, thinned out to at most about 200
// an agent. An empty agent asks for all of them.
func (c *Client) History(ctx context.Context, agent string, since time.Time) ([]Sample, error) {
	query := url.Values{"since": {since.UTC().Format(time.RFC3339)}}
	setParam(query, "agent", agent)
	return getResource[[]Sample](ctx, c, query, "history")
}
