package backend

import (
	"context"
	"slices"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/notify"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// noun joins a kind of named things in the store to the API.
type noun[T any] struct {
	core     *core
	list     func(context.Context, string, api.Cursor) (api.Page[T], error)
	get      func(store.Reader, context.Context, string) (T, error)
	put      func(*store.Tx, context.Context, T) (T, error)
	remove   func(*store.Tx, context.Context, string, int64) error
	validate func(T) error
	revision func(*T) *int64
	public   func(T) T // what is shown of it; nil: all
	write    func(context.Context, api.Actor, func(*store.Tx) error) error
}

// List lists by name.
func (n noun[T]) List(ctx context.Context, search string, c api.Cursor) (api.Page[T], error) {
	page, err := n.list(ctx, search, c)
	if n.public != nil {
		for i := range page.Items {
			page.Items[i] = n.public(page.Items[i])
		}
	}
	return page, err
}

// Get reads one.
func (n noun[T]) Get(ctx context.Context, name string) (T, error) {
	v, err := n.get(n.core.store.Reader, ctx, name)
	if n.public != nil {
		v = n.public(v)
	}
	return v, err
}

// Put makes or replaces one.
func (n noun[T]) Put(ctx context.Context, by api.Actor, v T) (T, error) {
	if err := n.validate(v); err != nil {
		return v, err
	}
	var put T
	err := n.write(ctx, by, func(tx *store.Tx) (err error) {
		put, err = n.put(tx, ctx, v)
		return err
	})
	return put, err
}

// Change writes what change makes of the one that is there.
func (n noun[T]) Change(ctx context.Context, by api.Actor, k api.NounKey, change func(T) (T, error)) (T, error) {
	var put T
	err := n.write(ctx, by, func(tx *store.Tx) error {
		now, err := n.get(tx.Reader, ctx, k.Name)
		if err != nil {
			return err
		}
		next, err := change(now)
		if err != nil {
			return err
		}
		*n.revision(&next) = k.Revision
		if err := n.validate(next); err != nil {
			return err
		}
		put, err = n.put(tx, ctx, next)
		return err
	})
	return put, err
}

// Delete removes one.
func (n noun[T]) Delete(ctx context.Context, by api.Actor, name string, revision int64) error {
	return n.write(ctx, by, func(tx *store.Tx) error { return n.remove(tx, ctx, name, revision) })
}

func (c *core) agentNouns() noun[api.Agent] {
	return noun[api.Agent]{
		core: c, write: c.write, list: c.store.Agents, get: store.Reader.Agent, put: (*store.Tx).PutAgent, remove: (*store.Tx).DeleteAgent, validate: api.Agent.Validate,
		revision: func(v *api.Agent) *int64 { return &v.Revision },
	}
}

func (c *core) groupNouns() noun[api.Group] {
	return noun[api.Group]{
		core: c, write: c.writeScopes, list: c.store.Groups, get: store.Reader.Group, put: putGroup, remove: (*store.Tx).DeleteGroup, validate: api.Group.Validate,
		revision: func(v *api.Group) *int64 { return &v.Revision },
	}
}

// putGroup refuses a selector that costs too much to be matched: the group
// would match nothing.
func putGroup(tx *store.Tx, ctx context.Context, g api.Group) (api.Group, error) { //nolint:revive // stands among the methods of store.Tx
	if _, err := fleet.CompileSelector(g.Selector); err != nil {
		return g, err
	}
	return tx.PutGroup(ctx, g)
}

func (c *core) strategyNouns() noun[api.Strategy] {
	return noun[api.Strategy]{
		core: c, write: c.write, list: c.store.Strategies, get: store.Reader.Strategy, put: (*store.Tx).PutStrategy, remove: (*store.Tx).DeleteStrategy, validate: api.Strategy.Validate,
		revision: func(v *api.Strategy) *int64 { return &v.Revision },
	}
}

func (c *core) scheduleNouns() noun[api.Schedule] {
	return noun[api.Schedule]{
		core: c, write: c.write, list: c.store.Schedules, get: store.Reader.Schedule, put: (*store.Tx).PutSchedule, remove: (*store.Tx).DeleteSchedule, validate: api.Schedule.Validate,
		revision: func(v *api.Schedule) *int64 { return &v.Revision },
	}
}

func (c *core) notifyTargets() noun[api.NotifyTarget] {
	return noun[api.NotifyTarget]{
		core: c, write: c.write, list: c.store.NotifyTargets, get: store.Reader.NotifyTarget, put: putNotifyTarget, remove: (*store.Tx).DeleteNotifyTarget,
		validate: func(api.NotifyTarget) error { return nil }, public: api.NotifyTarget.Redacted,
		revision: func(v *api.NotifyTarget) *int64 { return &v.Revision },
	}
}

// putNotifyTarget checks a target when what it leaves out is filled in.
func putNotifyTarget(tx *store.Tx, ctx context.Context, t api.NotifyTarget) (api.NotifyTarget, error) { //nolint:revive // stands among the methods of store.Tx
	t, err := tx.FillNotifyTarget(ctx, t)
	if err != nil {
		return t, err
	}
	if err := notify.Validate(t); err != nil {
		return t, err
	}
	return tx.PutNotifyTarget(ctx, t)
}

// readAllPages follows a listing to its end.
func readAllPages[T any](list func(api.Cursor) (api.Page[T], error)) ([]T, error) {
	return api.All(func(after string) (api.Page[T], error) { return list(api.Cursor{After: after, Limit: api.MaxPage}) })
}

// pageOf is the page of items after the one that the cursor names.
func pageOf[T any](items []T, c api.Cursor, key func(T) string) api.Page[T] {
	total, start := len(items), 0
	if c.After != "" {
		start = 1 + slices.IndexFunc(items, func(t T) bool { return key(t) == c.After })
	}
	items = items[start:]
	limit := c.Limit
	if limit <= 0 {
		limit = api.DefaultPage
	}
	page := api.Page[T]{Items: append([]T{}, items...), Total: total}
	if len(items) > limit {
		page.Items = page.Items[:limit]
		page.Next = key(page.Items[limit-1])
	}
	return page
}
