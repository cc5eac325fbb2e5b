package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// Channel is a named pointer to a version of an agent, such as stable or beta.
// By itself it changes nothing on hosts: schedules follow it.
type Channel struct {
	Agent string `json:"agent" yaml:"agent"`
	Name  string `json:"name" yaml:"name"`
	// Version that the channel points at; empty: at none yet, and in a fleet file
	// at whatever it does.
	Version  string    `json:"version,omitempty" yaml:"version,omitempty"`
	Previous string    `json:"previous,omitempty" yaml:"-"` // that it pointed at before
	MovedAt  time.Time `json:"movedAt" yaml:"-"`            // when it came to point at Version
	MovedBy  string    `json:"movedBy" yaml:"-"`            // token name
	Revision int64     `json:"revision,omitempty" yaml:"-"`
}

// Schedule lets the releases of a channel go out by themselves: when the
// channel of an agent points at a version that the scope does not run, a rollout
// by the strategy begins, once for each time that the channel moves. The
// strategy's stages are the waves: which groups, in which order, in which windows.
type Schedule struct {
	Name        string `json:"name" yaml:"name"`
	Description string `json:"description,omitempty" yaml:"description,omitempty"`
	Channel     string `json:"channel" yaml:"channel"`
	// Agents whose channel of that name it follows; empty: all that have one.
	Agents   []string `json:"agents,omitempty" yaml:"agents,omitempty"`
	Scope    Scope    `json:"scope" yaml:"scope,flow"`                      // whom it is for; left out: everyone
	Strategy string   `json:"strategy,omitempty" yaml:"strategy,omitempty"` // empty: each agent's own
	Paused   bool     `json:"paused,omitempty" yaml:"paused,omitempty"`     // begins nothing; what is under way goes on
	Revision int64    `json:"revision,omitempty" yaml:"-"`
}

// WithScope is s with its scope spelt out.
func (s Schedule) WithScope() Schedule {
	if s.Scope == (Scope{}) {
		s.Scope.Kind = ScopeEveryone
	}
	return s
}

// Validate checks c by itself. The error is an [*Error] of KindInvalid with
// its Field.
func (c Channel) Validate() error {
	err := cmp.Or(validName("agent", c.Agent), validName("name", c.Name))
	if err == nil && c.Version != "" {
		err = validName("version", c.Version)
	}
	return err
}

// Validate checks s by itself. The error is an [*Error] of KindInvalid with
// its Field.
func (s Schedule) Validate() error {
	s = s.WithScope()
	if s.Scope.Kind == ScopeAgent {
		return fieldErr("scope.kind", "%q is for holds only", ScopeAgent)
	}
	err := cmp.Or(validName("name", s.Name), validName("channel", s.Channel), fieldBelow("scope", s.Scope.Validate()))
	if err == nil && s.Strategy != "" {
		err = validName("strategy", s.Strategy)
	}
	named := map[string]bool{}
	for i, a := range s.Agents {
		field := fmt.Sprintf("agents[%d]", i)
		err = cmp.Or(err, validName(field, a))
		if err == nil && named[a] {
			err = fieldErr(field, "names %q twice", a)
		}
		named[a] = true
	}
	return err
}

// Downgrade is the error of a channel that would be moved to an older version
// by somebody who did not say that this is meant; nil when it would not.
func (c Channel) Downgrade(to string) error {
	if c.Version == "" || to == "" || meta.CompareVersions(to, c.Version) != meta.Older {
		return nil
	}
	return &Error{
		Kind: KindConflict, Field: "version",
		Message: fmt.Sprintf("channel %s of %s points at %s, and %s is older", c.Name, c.Agent, c.Version, to),
		Hint:    fmt.Sprintf("to go back on purpose: ops-meta channel set %s %s %s --downgrade", c.Agent, c.Name, to),
	}
}

// Take is which version of an agent a schedule took up last: it begins each at
// most once.
type Take struct {
	Schedule string    `json:"schedule"`
	Agent    string    `json:"agent"`
	Version  string    `json:"version"`
	Moved    int64     `json:"moved"`             // revision of the channel that it was
	Rollout  string    `json:"rollout,omitempty"` // that it began, or found; empty: the version ran already
	Time     time.Time `json:"time"`
}

// ScheduleState is how one agent stands in a schedule: what is next, and what
// that waits for.
type ScheduleState struct {
	Schedule string     `json:"schedule"`
	Agent    string     `json:"agent"`
	Channel  string     `json:"channel"`
	Version  string     `json:"version,omitempty"`  // that the channel points at
	Assigned string     `json:"assigned,omitempty"` // that the scope is assigned
	Strategy string     `json:"strategy,omitempty"` // by which it goes out
	Reason   string     `json:"reason"`             // machine-readable, such as outside-window
	Message  string     `json:"message"`            // for people
	Rollout  string     `json:"rollout,omitempty"`  // that it is about
	Until    *time.Time `json:"until,omitempty"`    // when the window opens that it waits for
	Taken    *Take      `json:"taken,omitempty"`    // what was taken up last
}

// Channels lists channels by agent and name. It knows Agent.
func (c *Client) Channels(ctx context.Context, o ListOptions) (Page[Channel], error) {
	return getResource[Page[Channel]](ctx, c, o.Values(), "channels")
}

// Channel is one channel of an agent.
func (c *Client) Channel(ctx context.Context, agent, name string) (Channel, error) {
	return getResource[Channel](ctx, c, nil, "agents", agent, "channels", name)
}

// PutChannel makes a channel, or moves it to a version; to an older one only with
// downgrade.
func (c *Client) PutChannel(ctx context.Context, ch Channel, downgrade bool) (Channel, error) {
	return readReply[Channel](ctx, c, call{
		method: http.MethodPut, path: []string{"agents", ch.Agent, "channels", ch.Name},
		query: url.Values{"downgrade": {strconv.FormatBool(downgrade)}}, body: ch, revision: ch.Revision,
	})
}

// DeleteChannel removes a channel; revision 0 means whatever it is now.
func (c *Client) DeleteChannel(ctx context.Context, agent, name string, revision int64) error {
	return c.deleteResource(ctx, revision, "agents", agent, "channels", name)
}

// Schedules lists schedules by name. It knows Search.
func (c *Client) Schedules(ctx context.Context, o ListOptions) (Page[Schedule], error) {
	return getResource[Page[Schedule]](ctx, c, o.Values(), "schedules")
}

// Schedule is the schedule of that name.
func (c *Client) Schedule(ctx context.Context, name string) (Schedule, error) {
	return getResource[Schedule](ctx, c, nil, "schedules", name)
}

// PutSchedule makes or replaces a schedule.
func (c *Client) PutSchedule(ctx context.Context, s Schedule) (Schedule, error) {
	return putResource(ctx, c, s, s.Revision, "schedules", s.Name)
}

// PatchSchedule changes what p names of a schedule.
func (c *Client) PatchSchedule(ctx context.Context, name string, p Patch, revision int64) (Schedule, error) {
	return patchResource[Schedule](ctx, c, p, revision, "schedules", name)
}

// DeleteSchedule removes a schedule; rollouts that it began go on.
func (c *Client) DeleteSchedule(ctx context.Context, name string, revision int64) error {
	return c.deleteResource(ctx, revision, "schedules", name)
}

// ScheduleStates is how every agent stands in a schedule.
func (c *Client) ScheduleStates(ctx context.Context, name string) (Page[ScheduleState], error) {
	return getResource[Page[ScheduleState]](ctx, c, nil, "schedules", name, "states")
}
