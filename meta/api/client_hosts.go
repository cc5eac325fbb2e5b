package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Hosts lists hosts.
func (c *Client) Hosts(ctx context.Context, q HostQuery) (Page[Host], error) {
	return getResource[Page[Host]](ctx, c, q.Values(), "hosts")
}

// Host is the host of that name.
func (c *Client) Host(ctx context.Context, name string) (Host, error) {
	return getResource[Host](ctx, c, nil, "hosts", name)
}

// DeleteHost forgets a host until its next heartbeat, and voids its
// credential.
func (c *Client) DeleteHost(ctx context.Context, name string) error {
	return c.deleteResource(ctx, 0, "hosts", name)
}

// HostEvents lists a host's timeline, the newest first. It knows Agent, Kind
// and Since.
func (c *Client) HostEvents(ctx context.Context, name string, o ListOptions) (Page[Event], error) {
	return getResource[Page[Event]](ctx, c, o.Values(), "hosts", name, "events")
}

// Explain says what a host shall run and why. The host need not be known.
func (c *Client) Explain(ctx context.Context, name string) (Explanation, error) {
	return getResource[Explanation](ctx, c, nil, "hosts", name, "explain")
}

// Follow calls f for every change the server tells of, until the context
// ends or the stream breaks. After is the Seq to continue from; 0 means from
// now on, and the first item then is of kind "open": what is read after it
// came is followed without a gap. An item of kind "reset" means that some were
// missed.
func (c *Client) Follow(ctx context.Context, after int64, f func(FeedItem)) error {
	query := url.Values{}
	if after > 0 {
		query.Set("after", fmt.Sprint(after))
	}
	resp, err := c.sendCall(ctx, call{method: http.MethodGet, path: []string{"events"}, query: query})
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var item FeedItem
		if err := json.Unmarshal([]byte(data), &item); err != nil {
			return fmt.Errorf("cannot read the change feed: %w", err)
		}
		f(item)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return fmt.Errorf("the change feed of %s ended", c.base)
}
