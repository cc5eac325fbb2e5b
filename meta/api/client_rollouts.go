package api

import (
	"context"
	"net/http"
)

// Rollouts lists rollouts, the newest first. It knows Agent and State, where
// the state "active" stands for every one that has not ended.
func (c *Client) Rollouts(ctx context.Context, o ListOptions) (Page[Rollout], error) {
	return getResource[Page[Rollout]](ctx, c, o.Values(), "rollouts")
}

// Rollout is the rollout with that id.
func (c *Client) Rollout(ctx context.Context, id string) (Rollout, error) {
	return getResource[Rollout](ctx, c, nil, "rollouts", id)
}

// CreateRollout makes a rollout, and starts it unless it is a draft.
func (c *Client) CreateRollout(ctx context.Context, n NewRollout) (Rollout, error) {
	return readReply[Rollout](ctx, c, call{method: http.MethodPost, path: []string{"rollouts"}, body: n})
}

// TryRollout is CreateRollout without the writing: it refuses what that
// refuses, and returns what would be made.
func (c *Client) TryRollout(ctx context.Context, n NewRollout) (Rollout, error) {
	return readReply[Rollout](ctx, c, call{method: http.MethodPost, path: []string{"rollouts"}, query: dryRun, body: n})
}

// RolloutImpact says what CreateRollout would change, and changes nothing.
func (c *Client) RolloutImpact(ctx context.Context, n NewRollout) (Impact, error) {
	return c.AssignmentImpact(ctx, Assignment{Agent: n.Agent, Scope: n.Scope, Version: n.Version})
}

// ActOnRollout does one of the Action constants to a rollout and returns it
// as it then is; after a rollback, the rollout that rolls back.
func (c *Client) ActOnRollout(ctx context.Context, id, action string, a RolloutAction) (Rollout, error) {
	return readReply[Rollout](ctx, c, call{method: http.MethodPost, path: []string{"rollouts", id, action}, body: a})
}

// Transitions lists what a rollout went through, the oldest first.
func (c *Client) Transitions(ctx context.Context, id string, o ListOptions) (Page[Transition], error) {
	return getResource[Page[Transition]](ctx, c, o.Values(), "rollouts", id, "transitions")
}

// Grants lists a rollout's grants by host. It knows State: pending,
// succeeded, failed.
func (c *Client) Grants(ctx context.Context, id string, o ListOptions) (Page[Grant], error) {
	return getResource[Page[Grant]](ctx, c, o.Values(), "rollouts", id, "grants")
}
