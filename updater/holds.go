package updater

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// holdBook is the holds of this host, kept in one file.
type holdBook struct {
	path string
	mu   sync.Mutex
	held map[string]plan.Hold
	lost string // why the holds of before are not known; until somebody says one anew
}

// openHolds always returns a usable book; the error says what was lost.
func openHolds(path string, access stateAccess) (*holdBook, error) {
	b := &holdBook{path: path, held: map[string]plan.Hold{}}
	err := loadJSON(path, access, &b.held)
	if b.held == nil {
		b.held = map[string]plan.Hold{}
	}
	if err != nil {
		b.lost = err.Error()
	}
	return b, err
}

// lossWarning says that holds were lost, or nothing.
func (b *holdBook) lossWarning() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost == "" {
		return ""
	}
	return "this host's holds are lost: " + b.lost + "; say ops-updater hold again"
}

func (b *holdBook) holdOf(name string) *plan.Hold {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, ok := b.held[name]
	if !ok {
		return nil
	}
	now := time.Now()
	h = h.AsOf(now)
	b.held[name] = h
	if !h.Until.IsZero() && !now.Before(h.Until) {
		return nil
	}
	return &h
}

// rebaseFuture counts holds that begin in the future from now, and keeps that, so
// that the next start does not begin them anew.
func (b *holdBook) rebaseFuture(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := maps.Clone(b.held)
	for name, h := range next {
		next[name] = h.AsOf(now)
	}
	if maps.Equal(next, b.held) {
		return nil
	}
	b.held = next
	return saveJSON(b.path, next)
}

// setHold keeps h, or removes the hold when h is nil. On an error nothing changed.
func (b *holdBook) setHold(name string, h *plan.Hold) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := maps.Clone(b.held)
	// On a copy: what cannot be written would otherwise be in force until the restart
	// and gone after it.
	if h == nil {
		delete(next, name)
	} else {
		next[name] = *h
	}
	if err := saveJSON(b.path, next); err != nil {
		return err
	}
	b.held, b.lost = next, ""
	return nil
}

// Hold keeps an agent at the version it has, until [Engine.Unhold]. An install
// under way is given up; once the old version is being stopped, the
// transaction goes on to its end.
func (e *Engine) Hold(name, reason string) error { return e.HoldUntil(name, reason, time.Time{}) }

// HoldUntil is [Engine.Hold] that ends by itself; a zero until never comes.
func (e *Engine) HoldUntil(name, reason string, until time.Time) error {
	if !meta.ValidName(name) {
		return fmt.Errorf("cannot hold %.80q: it is not an agent's name", name)
	}
	if err := e.holds.setHold(name, &plan.Hold{Reason: cmp.Or(reason, "by an operator"), Since: time.Now(), Until: until}); err != nil {
		return fmt.Errorf("cannot hold %s: %w", name, err)
	}
	e.currentConfig().Log.Info().Str("agent", name).Str("reason", reason).Time("until", until).Msg("held")
	e.nudgeKeeper(name)
	return nil
}

// Unhold ends a hold, also one that [Engine.Rollback] made.
func (e *Engine) Unhold(name string) error {
	if e.holds.holdOf(name) == nil {
		return fmt.Errorf("cannot unhold %s: it is not held", name)
	}
	if err := e.holds.setHold(name, nil); err != nil {
		return fmt.Errorf("cannot unhold %s: %w", name, err)
	}
	e.currentConfig().Log.Info().Str("agent", name).Msg("no longer held")
	e.nudgeKeeper(name)
	return nil
}

// Rollback goes back to the version that ran before and stays there until
// [Engine.Unhold], or until the server wants another version than it wants now.
func (e *Engine) Rollback(name, reason string) error {
	k, err := e.findKeeper(name)
	if err != nil {
		return err
	}
	s := k.currentState()
	switch {
	case s.Wish.Agent.Cmd != meta.CmdStart || s.Wish.Refused != "":
		return fmt.Errorf("cannot roll %s back: the server does not want it started", name)
	case s.PreviousVersion == "":
		return fmt.Errorf("cannot roll %s back: no version ran before %s", name, s.Version)
	case !slices.Contains(s.Seen.Versions, s.PreviousVersion):
		return fmt.Errorf("cannot roll %s back: %s is no longer on disk", name, s.PreviousVersion)
	}
	if why := e.whyNotBack(s); why != "" {
		return fmt.Errorf("cannot roll %s back: %s", name, why)
	}
	h := plan.Hold{
		Reason: cmp.Or(reason, "rolled back by an operator"), Since: time.Now(),
		Version: s.PreviousVersion, Against: s.Wish.Agent.Version,
	}
	if err := e.holds.setHold(name, &h); err != nil {
		return fmt.Errorf("cannot roll %s back: %w", name, err)
	}
	e.currentConfig().Log.Info().Str("agent", name).Str("to", h.Version).Str("reason", h.Reason).Msg("rollback asked for")
	k.replan()
	return nil
}

// Clear ends every quarantine and back-off of an agent: what is wanted is
// tried again at once.
func (e *Engine) Clear(name string) error {
	k, err := e.findKeeper(name)
	if err != nil {
		return err
	}
	k.clearFailures()
	return nil
}

func (e *Engine) nudgeKeeper(name string) {
	if k, err := e.findKeeper(name); err == nil {
		k.replan()
	}
}

// Plan says for every agent what would be done next, and why, and what of the wish this host
// does not follow. It does nothing: nothing is written, and no control script is ended. What
// is wanted is d, or the last reply when d is nil. It needs no [Engine.Run].
func (e *Engine) Plan(ctx context.Context, d *plan.Desired) ([]plan.Account, error) {
	e.mu.Lock()
	want := e.desired
	e.mu.Unlock()
	if d != nil {
		want = *d
	}
	wishes := e.currentConfig().wishes(want)
	names := slices.Collect(maps.Keys(wishes))
	for _, k := range e.allKeepers() {
		names = append(names, k.name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	accounts := make([]plan.Account, len(names))
	var group sync.WaitGroup
	for i, name := range names {
		group.Go(func() { accounts[i] = e.planFor(ctx, name, wishes[name], d != nil) })
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(errors.New("cannot finish the plan in time"), err)
	}
	return accounts, nil
}

// planFor looks at an agent as a guest; one that is being replaced is not
// disturbed at all.
func (e *Engine) planFor(ctx context.Context, name string, w plan.Wish, asked bool) plan.Account {
	if k, err := e.findKeeper(name); err == nil {
		if a, under := k.underWay(); under {
			return a
		}
	}
	k := newKeeper(e, name, readState)
	defer k.returnChildren()
	k.asked = asked
	k.setWish(w)
	s := k.observeSituation(ctx)
	return s.Account(plan.Next(s))
}
