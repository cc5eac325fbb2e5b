package api

import (
	"context"
	"net/http"
)

// Standstill says whether the fleet stands still after the server's database
// went back, and what would happen if that ended.
func (c *Client) Standstill(ctx context.Context) (StandstillReport, error) {
	return getResource[StandstillReport](ctx, c, nil, "standstill")
}

// EndStandstill lets hosts be told what is wanted again.
func (c *Client) EndStandstill(ctx context.Context, e EndStandstill) (StandstillReport, error) {
	return readReply[StandstillReport](ctx, c, call{method: http.MethodPost, path: []string{"standstill", "end"}, body: e})
}
