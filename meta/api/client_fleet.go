package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// ExportFleet is everything an operator has said, as a fleet file.
func (c *Client) ExportFleet(ctx context.Context) ([]byte, error) {
	resp, err := c.sendCall(ctx, call{method: http.MethodGet, path: []string{"fleet"}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("cannot read the fleet file: %w", err)
	}
	return data, nil
}

// ApplyFleet makes the server be as the fleet file says, all of it or
// nothing.
func (c *Client) ApplyFleet(ctx context.Context, yaml []byte, o ApplyOptions) (Plan, error) {
	return readReply[Plan](ctx, c, call{
		method: http.MethodPut, path: []string{"fleet"}, query: o.queryValues(),
		raw: bytes.NewReader(yaml), rawType: "application/yaml",
	})
}

func (o ApplyOptions) queryValues() url.Values {
	return url.Values{
		"dryRun": {strconv.FormatBool(o.DryRun)}, "now": {strconv.FormatBool(o.Now)}, "overwrite": {strconv.FormatBool(o.Overwrite)},
	}
}

// ImportConfig takes the cfg.json of an older ops-meta, all of it or nothing
// unless it is told to take a part.
func (c *Client) ImportConfig(ctx context.Context, cfg []byte, o ImportOptions) (ImportReport, error) {
	return readSlowly[ImportReport](ctx, c, call{
		method: http.MethodPost, path: []string{"fleet", "import"},
		query: url.Values{"dryRun": {strconv.FormatBool(o.DryRun)}, "partial": {strconv.FormatBool(o.Partial)}},
		raw:   bytes.NewReader(cfg), rawType: "application/json", as: o.As,
	})
}
