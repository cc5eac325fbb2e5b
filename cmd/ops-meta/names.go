package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// byPrefix is the one name that begins with text; several are an error that
// lists them, none is missing.
func byPrefix(kind, text string, names []string, missing error) (string, error) {
	slices.Sort(names)
	matching := slices.DeleteFunc(slices.Compact(slices.Clone(names)), func(name string) bool { return !strings.HasPrefix(name, text) })
	switch {
	case len(matching) == 1 && text != "":
		return matching[0], nil
	case len(matching) > 1 && text != "":
		return "", &api.Error{
			Kind: api.KindInvalid, Message: fmt.Sprintf("%q is the beginning of several %s", text, kind), Hint: "such as " + api.SomeOf(matching),
		}
	}
	if near := api.Nearest(text, names); near != "" {
		return "", &api.Error{Kind: api.KindNotFound, Message: missing.Error(), Hint: fmt.Sprintf("did you mean %q?", near)}
	}
	return "", missing
}

// rolloutNamed finds a rollout by its id, the beginning of one, or its agent:
// then it is the one that has not ended, else the latest.
func rolloutNamed(ctx context.Context, c *api.Client, name string) (api.Rollout, error) {
	r, missing := c.Rollout(ctx, name)
	if !isNotFound(missing) {
		return r, missing
	}
	all, err := c.Rollouts(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return r, err
	}
	var names []string
	for _, r := range all.Items {
		names = append(names, r.ID, r.Agent)
	}
	if !slices.Contains(names, name) {
		if name, err = byPrefix("rollouts and agents", name, names, missing); err != nil {
			return r, err
		}
	}
	mine := slices.DeleteFunc(all.Items, func(r api.Rollout) bool { return r.ID != name && r.Agent != name })
	return slices.MinFunc(mine, func(x, y api.Rollout) int {
		return cmp.Or(boolOrder(hasEnded(x.State), hasEnded(y.State)), y.CreatedAt.Compare(x.CreatedAt))
	}), nil
}

func hasEnded(s api.RolloutState) bool { return s == api.RolloutAborted || s == api.RolloutCompleted }

// boolOrder puts false first.
func boolOrder(x, y bool) int {
	switch {
	case x == y:
		return 0
	case y:
		return -1
	}
	return 1
}

// hostNamed is the name of a host of which name may be the beginning.
func hostNamed(ctx context.Context, c *api.Client, name string) (string, error) {
	_, missing := c.Host(ctx, name)
	if !isNotFound(missing) {
		return name, missing
	}
	page, err := c.Hosts(ctx, api.HostQuery{Search: name, Limit: api.MaxPage})
	if err != nil {
		return "", err
	}
	var names []string
	for _, h := range page.Items {
		names = append(names, h.Name)
	}
	return byPrefix("hosts", name, names, missing)
}

func agentNames(ctx context.Context, c *api.Client) ([]string, error) {
	all, err := api.All(func(cursor string) (api.Page[api.Agent], error) {
		return c.Agents(ctx, api.ListOptions{Cursor: cursor, Limit: api.MaxPage})
	})
	return api.NamesOf(all, func(a api.Agent) string { return a.Name }), err
}

func groupNames(ctx context.Context, c *api.Client) ([]string, error) {
	all, err := api.All(func(cursor string) (api.Page[api.Group], error) {
		return c.Groups(ctx, api.ListOptions{Cursor: cursor, Limit: api.MaxPage})
	})
	return api.NamesOf(all, func(g api.Group) string { return g.Name }), err
}

// agentNamed is the name of an agent of which name may be the beginning.
func agentNamed(ctx context.Context, c *api.Client, name string) (string, error) {
	_, missing := c.Agent(ctx, name)
	if !isNotFound(missing) {
		return name, missing
	}
	names, err := agentNames(ctx, c)
	if err != nil {
		return "", err
	}
	return byPrefix("agents", name, names, missing)
}

// groupNamed is the name of a group of which name may be the beginning.
func groupNamed(ctx context.Context, c *api.Client, name string) (string, error) {
	_, missing := c.Group(ctx, name)
	if !isNotFound(missing) {
		return name, missing
	}
	names, err := groupNames(ctx, c)
	if err != nil {
		return "", err
	}
	return byPrefix("groups", name, names, missing)
}

// refuseUnlisted refuses a filter's value that there is none of, with the nearest.
func refuseUnlisted(what, value string, known []string) error {
	var e *api.Error
	err := api.Unknown(what, value, known)
	if errors.As(err, &e) {
		e.Kind = api.KindNotFound
	}
	return err
}

// oneOf is [refuseUnlisted] for words that are ours.
func oneOf(what, value string, known []string) error {
	var e *api.Error
	err := api.Unknown(what, value, known)
	if errors.As(err, &e) {
		e.Message = fmt.Sprintf("%s %q is not known", what, value)
		if !strings.HasPrefix(e.Hint, "did") {
			e.Hint = "want one of " + strings.Join(known, ", ")
		}
	}
	return err
}

// knownFilters refuses a query that names what there is none of: an empty list
// would read as "no host is so".
func knownFilters(ctx context.Context, c *api.Client, q api.HostQuery) error {
	if q.Group != "" {
		groups, err := groupNames(ctx, c)
		if err != nil {
			return err
		}
		if err := refuseUnlisted("group", q.Group, groups); err != nil {
			return err
		}
	}
	if q.Agent == "" && q.Arch == "" && q.Status == "" && q.Phase == "" && q.Version == "" {
		return nil
	}
	o, err := c.Overview(ctx)
	if err != nil {
		return err
	}
	agents, err := agentNames(ctx, c)
	if err != nil {
		return err
	}
	statuses := map[string]int{meta.StatusStarted: 0, meta.StatusStopped: 0, meta.StatusUnknown: 0}
	versions := map[string]int{}
	for _, a := range o.Agents {
		agents = append(agents, a.Name)
		if q.Agent == "" || q.Agent == a.Name {
			maps.Copy(statuses, a.Statuses)
			maps.Copy(versions, a.Versions)
		}
	}
	if err := refuseUnlisted("agent", q.Agent, agents); err != nil {
		return err
	}
	if q.Version != "" && versions[q.Version] == 0 {
		if err := addPublished(ctx, c, q.Agent, versions); err != nil {
			return err
		}
	}
	return cmp.Or(
		refuseUnlisted("arch", q.Arch, slices.Collect(maps.Keys(o.Arches))),
		oneOf("status", q.Status, slices.Collect(maps.Keys(statuses))),
		oneOf("phase", q.Phase, api.Phases()),
		refuseUnlisted("version", q.Version, slices.Collect(maps.Keys(versions))),
	)
}

// addPublished adds the versions that are published: nobody may run them yet.
func addPublished(ctx context.Context, c *api.Client, agent string, versions map[string]int) error {
	all, err := api.All(func(cursor string) (api.Page[api.Release], error) {
		return c.Releases(ctx, api.ListOptions{Agent: agent, Cursor: cursor, Limit: api.MaxPage})
	})
	for _, r := range all {
		versions[r.Version]++
	}
	return err
}

// knownGroupOf refuses a scope that names a group that there is none of.
func knownGroupOf(ctx context.Context, c *api.Client, scope string) error {
	group, isGroup := strings.CutPrefix(scope, string(api.ScopeGroup)+":")
	if !isGroup {
		return nil
	}
	groups, err := groupNames(ctx, c)
	if err != nil {
		return err
	}
	return refuseUnlisted("group", group, groups)
}

// knownAgent refuses the name of an agent that nobody knows.
func knownAgent(ctx context.Context, c *api.Client, name string) error {
	return knownFilters(ctx, c, api.HostQuery{Agent: name})
}

// order is how a list can be sorted: by a key, or with a dash before it the
// other way around.
type order[T any] map[string]func(x, y T) int

// sortItems puts items into the order that --sort names; empty leaves them.
func (o order[T]) sortItems(items []T, by string) error {
	if by == "" {
		return nil
	}
	key, backwards := strings.CutPrefix(by, "-")
	compare := o[key]
	if compare == nil {
		keys := slices.Sorted(maps.Keys(o))
		return &api.Error{
			Kind: api.KindInvalid, Field: "sort", Message: fmt.Sprintf("cannot sort by %q", key),
			Hint: "want " + strings.Join(keys, ", ") + ", or one of them with a dash before it for the other way around",
		}
	}
	slices.SortStableFunc(items, func(x, y T) int {
		if backwards {
			return compare(y, x)
		}
		return compare(x, y)
	})
	return nil
}

func (o order[T]) sortHelp() string {
	return "by " + strings.Join(slices.Sorted(maps.Keys(o)), ", ") + "; with a dash before it the other way around"
}

// byKey compares by one property.
func byKey[T any, K cmp.Ordered](key func(T) K) func(x, y T) int {
	return func(x, y T) int { return cmp.Compare(key(x), key(y)) }
}
