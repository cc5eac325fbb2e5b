package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

func putResource[T any](ctx context.Context, c *Client, body T, revision int64, path ...string) (T, error) {
	return readReply[T](ctx, c, call{method: http.MethodPut, path: path, body: body, revision: revision})
}

// Agents lists agents by name. It knows Search.
func (c *Client) Agents(ctx context.Context, o ListOptions) (Page[Agent], error) {
	return getResource[Page[Agent]](ctx, c, o.Values(), "agents")
}

// Agent is the agent of that name.
func (c *Client) Agent(ctx context.Context, name string) (Agent, error) {
	return getResource[Agent](ctx, c, nil, "agents", name)
}

// PutAgent makes or replaces an agent. With a Revision it must still be at
// that revision.
func (c *Client) PutAgent(ctx context.Context, a Agent) (Agent, error) {
	return putResource(ctx, c, a, a.Revision, "agents", a.Name)
}

// DeleteAgent removes an agent that has no assignment; revision 0 means
// whatever it is now.
func (c *Client) DeleteAgent(ctx context.Context, name string, revision int64) error {
	return c.deleteResource(ctx, revision, "agents", name)
}

// Groups lists groups by name. It knows Search.
func (c *Client) Groups(ctx context.Context, o ListOptions) (Page[Group], error) {
	return getResource[Page[Group]](ctx, c, o.Values(), "groups")
}

// Group is the group of that name.
func (c *Client) Group(ctx context.Context, name string) (Group, error) {
	return getResource[Group](ctx, c, nil, "groups", name)
}

// PutGroup makes or replaces a group.
func (c *Client) PutGroup(ctx context.Context, g Group) (Group, error) {
	return putResource(ctx, c, g, g.Revision, "groups", g.Name)
}

// DeleteGroup removes a group that no assignment, hold or strategy names.
func (c *Client) DeleteGroup(ctx context.Context, name string, revision int64) error {
	return c.deleteResource(ctx, revision, "groups", name)
}

// MatchSelector lists the known hosts that a selector would match.
func (c *Client) MatchSelector(ctx context.Context, s Selector, o ListOptions) (Page[Host], error) {
	return readReply[Page[Host]](ctx, c, call{
		method: http.MethodPost, path: []string{"selectors", "match"}, query: o.Values(), body: s,
	})
}

// Assignments lists assignments. It knows Agent and Scope.
func (c *Client) Assignments(ctx context.Context, o ListOptions) (Page[Assignment], error) {
	return getResource[Page[Assignment]](ctx, c, o.Values(), "assignments")
}

// Assignment is what an agent's scope is told.
func (c *Client) Assignment(ctx context.Context, agent string, s Scope) (Assignment, error) {
	return getResource[Assignment](ctx, c, nil, "agents", agent, "assignments", s.String())
}

// PutAssignment makes or replaces an assignment; it holds for every host of
// its scope at once. For a careful change make a rollout.
func (c *Client) PutAssignment(ctx context.Context, a Assignment) (Assignment, error) {
	return putResource(ctx, c, a, a.Revision, "agents", a.Agent, "assignments", a.Scope.String())
}

// Assign is PutAssignment with options.
func (c *Client) Assign(ctx context.Context, a Assignment, o AssignOptions) (Assignment, error) {
	return readReply[Assignment](ctx, c, call{
		method: http.MethodPut, path: []string{"agents", a.Agent, "assignments", a.Scope.String()},
		query: url.Values{"dryRun": {strconv.FormatBool(o.DryRun)}, "force": {strconv.FormatBool(o.Force)}}, body: a, revision: a.Revision,
	})
}

var dryRun = url.Values{"dryRun": {"true"}}

// DeleteAssignment removes an assignment. Hosts that no other rule covers
// are left with what they have.
func (c *Client) DeleteAssignment(ctx context.Context, agent string, s Scope, revision int64) error {
	return c.deleteResource(ctx, revision, "agents", agent, "assignments", s.String())
}

// AssignmentImpact says what PutAssignment would change, and changes nothing.
func (c *Client) AssignmentImpact(ctx context.Context, a Assignment) (Impact, error) {
	return readReply[Impact](ctx, c, call{method: http.MethodPost, path: []string{"impact"}, body: a})
}

// Holds lists the holds in force. It knows Scope.
func (c *Client) Holds(ctx context.Context, o ListOptions) (Page[Hold], error) {
	return getResource[Page[Hold]](ctx, c, o.Values(), "holds")
}

// CreateHold holds a scope; the server gives ID, time and creator.
func (c *Client) CreateHold(ctx context.Context, h Hold) (Hold, error) {
	return readReply[Hold](ctx, c, call{method: http.MethodPost, path: []string{"holds"}, body: h})
}

// DeleteHold releases a hold.
func (c *Client) DeleteHold(ctx context.Context, id string) error {
	return c.deleteResource(ctx, 0, "holds", id)
}

// Strategies lists named strategies.
func (c *Client) Strategies(ctx context.Context, o ListOptions) (Page[Strategy], error) {
	return getResource[Page[Strategy]](ctx, c, o.Values(), "strategies")
}

// Strategy is the strategy of that name.
func (c *Client) Strategy(ctx context.Context, name string) (Strategy, error) {
	return getResource[Strategy](ctx, c, nil, "strategies", name)
}

// PutStrategy makes or replaces a strategy; rollouts under way keep theirs.
func (c *Client) PutStrategy(ctx context.Context, s Strategy) (Strategy, error) {
	return putResource(ctx, c, s, s.Revision, "strategies", s.Name)
}

// DeleteStrategy removes a strategy that no agent names as its default.
func (c *Client) DeleteStrategy(ctx context.Context, name string, revision int64) error {
	return c.deleteResource(ctx, revision, "strategies", name)
}

// Tokens lists tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context, o ListOptions) (Page[Token], error) {
	return getResource[Page[Token]](ctx, c, o.Values(), "tokens")
}

// Credentials lists the credentials of hosts, without their secrets.
func (c *Client) Credentials(ctx context.Context, o ListOptions) (Page[Token], error) {
	query := o.Values()
	query.Set("role", string(RoleHost))
	return getResource[Page[Token]](ctx, c, query, "tokens")
}

// CreateToken makes a token; its Secret is in this reply and nowhere else.
func (c *Client) CreateToken(ctx context.Context, t NewToken) (Token, error) {
	return readReply[Token](ctx, c, call{method: http.MethodPost, path: []string{"tokens"}, body: t})
}

// DeleteToken makes a token void at once.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	return c.deleteResource(ctx, 0, "tokens", id)
}

// Audit lists writes, the newest first. It knows Kind, Actor, Search (the
// name) and Since.
func (c *Client) Audit(ctx context.Context, o ListOptions) (Page[AuditEntry], error) {
	return getResource[Page[AuditEntry]](ctx, c, o.Values(), "audit")
}

// NotifyTargets lists who is told of what.
func (c *Client) NotifyTargets(ctx context.Context, o ListOptions) (Page[NotifyTarget], error) {
	return getResource[Page[NotifyTarget]](ctx, c, o.Values(), "notifications", "targets")
}

// PutNotifyTarget makes or replaces a target. An empty Secret keeps
// the one that is there.
func (c *Client) PutNotifyTarget(ctx context.Context, t NotifyTarget) (NotifyTarget, error) {
	return putResource(ctx, c, t, t.Revision, "notifications", "targets", t.Name)
}

// DeleteNotifyTarget removes a target.
func (c *Client) DeleteNotifyTarget(ctx context.Context, name string, revision int64) error {
	return c.deleteResource(ctx, revision, "notifications", "targets", name)
}

// DeadLetters lists notifications that could not be delivered.
func (c *Client) DeadLetters(ctx context.Context, o ListOptions) (Page[Notification], error) {
	return getResource[Page[Notification]](ctx, c, o.Values(), "notifications", "dead")
}

// RetryDeadLetter puts a notification back into the queue.
func (c *Client) RetryDeadLetter(ctx context.Context, id int64) error {
	_, err := readReply[struct{}](ctx, c, call{
		method: http.MethodPost, path: []string{"notifications", "dead", strconv.FormatInt(id, 10), "retry"},
	})
	return err
}

// DropDeadLetter gives a notification up for good.
func (c *Client) DropDeadLetter(ctx context.Context, id int64) error {
	return c.deleteResource(ctx, 0, "notifications", "dead", strconv.FormatInt(id, 10))
}

// TestNotifyTarget sends one notification of event "test" to a target and
// reports how that went.
func (c *Client) TestNotifyTarget(ctx context.Context, name string) error {
	_, err := readReply[struct{}](ctx, c, call{method: http.MethodPost, path: []string{"notifications", "targets", name, "test"}})
	return err
}
