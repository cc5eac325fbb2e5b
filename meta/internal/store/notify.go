package store

import (
	"context"

	"github.com/ops-updater/ops-updater/meta/api"
)

var targets = noun[api.NotifyTarget]{
	kind: "notification target", table: "notify_targets",
	name:     func(t api.NotifyTarget) string { return t.Name },
	revision: func(t *api.NotifyTarget) *int64 { return &t.Revision },
	redact:   func(t *api.NotifyTarget) { *t = t.ForViewers() },
}

func hideSecret(t api.NotifyTarget) api.NotifyTarget { return t.Redacted() }

// NotifyTarget reads one target with its secret: for anyone who notifies it.
func (r Reader) NotifyTarget(ctx context.Context, name string) (api.NotifyTarget, error) {
	return targets.get(ctx, r.q, name)
}

// NotifyTargets lists targets with their secrets by name; search is part of
// it.
func (r Reader) NotifyTargets(ctx context.Context, search string, c api.Cursor) (api.Page[api.NotifyTarget], error) {
	return targets.findPage(ctx, r.q, nameContains(search), c)
}

// FillNotifyTarget gives a target that comes without its secret or its whole
// address those that it has.
func (tx *Tx) FillNotifyTarget(ctx context.Context, t api.NotifyTarget) (api.NotifyTarget, error) {
	if t.Kind == api.NotifyMail { // it has neither
		return t, nil
	}
	old, err := tx.NotifyTarget(ctx, t.Name)
	if api.KindOf(err) == api.KindNotFound && err != nil {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	if t.Secret == "" {
		t.Secret = old.Secret
	}
	if t.URL == "" || t.URL == old.Redacted().URL {
		t.URL = old.URL
	}
	return t, nil
}

// PutNotifyTarget creates or replaces a target, as its Revision demands.
// Neither the audit log nor what is returned has its secrets.
func (tx *Tx) PutNotifyTarget(ctx context.Context, t api.NotifyTarget) (api.NotifyTarget, error) {
	t, err := tx.FillNotifyTarget(ctx, t)
	if err != nil {
		return t, err
	}
	t.HasSecret = t.Secret != ""
	put, err := targets.put(ctx, tx, t)
	return hideSecret(put), err
}

// DeleteNotifyTarget deletes a target; what is owed to it is dropped when it
// is next tried.
func (tx *Tx) DeleteNotifyTarget(ctx context.Context, name string, revision int64) error {
	return targets.remove(ctx, tx, name, revision)
}
