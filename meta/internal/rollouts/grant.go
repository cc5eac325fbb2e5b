package rollouts

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// Grant decides whether a host that waits for a rollout may have its target
// now. Refusals come from memory; a grant is durable before it is told.
func (e *Engine) Grant(ctx context.Context, q api.GrantRequest) (bool, error) {
	r, n, granted, known := e.book.lookUp(q.Rollout, q.Host)
	// Known from memory: a host that asks with each heartbeat costs no transaction.
	if granted || !known {
		return granted && n.outcome != takenBack, nil
	}
	if e.still.Load() {
		return false, nil
	}
	h := rollout.Host{
		Name: q.Host, Held: q.Held,
		InGroup: func(g string) bool { return slices.Contains(q.Groups, g) },
	}
	// From a book that may be behind, and without the rate: a refusal may be late by a
	// heartbeat, and a yes is decided again on what is stored.
	if _, d := rollout.Admit(r, h, 0, time.Now()); !d.Granted() {
		return false, nil // a grant made elsewhere that the host acts on is confirmed by what it reports
	}
	stand, concerned := e.opts.Fleet.StandOf(q.Host, q.Rollout)
	if !concerned || stand.Barred != "" {
		return false, nil
	}
	h.OnTarget, h.Pace = rollout.OnTarget(r, reportOf(stand)), stand.Pace
	return e.askForGrant(ctx, r.ID, h)
}

func notFoundIsFine(err error) error {
	if err != nil && api.KindOf(err) == api.KindNotFound {
		return nil
	}
	return err
}

// maxAsked is how many hosts one transaction decides about.
const maxAsked = 200

// counter is where hosts that may be granted stand in line: all who wait are
// served in one transaction.
type counter struct {
	mu     sync.Mutex
	lines  map[string][]*asker
	served map[string]bool // somebody is serving the line
}

// asker is one host in the line of a rollout.
type asker struct {
	host    rollout.Host
	granted bool
	err     error
	done    chan struct{}
}

// askForGrant stands in line for the decision on the stored rollout.
func (e *Engine) askForGrant(ctx context.Context, id string, h rollout.Host) (bool, error) {
	if !e.patience.try(time.Now()) {
		return false, errStalled
	}
	a := &asker{host: h, done: make(chan struct{})}
	if e.counter.joinLine(id, a) {
		// Not with the context of whoever happens to begin: others stand in the same
		// line.
		e.beside.Go(func() { e.serveLine(context.WithoutCancel(ctx), id) })
	}
	select {
	case <-a.done:
		return a.granted, a.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// joinLine puts a host into a line, and reports whether nobody serves it yet.
func (c *counter) joinLine(id string, a *asker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines[id] = append(c.lines[id], a)
	if c.served[id] {
		return false
	}
	c.served[id] = true
	return true
}

// nextInLine takes the head of a line; when nobody is left, nobody serves it.
func (c *counter) nextInLine(id string) []*asker {
	c.mu.Lock()
	defer c.mu.Unlock()
	line := c.lines[id]
	n := min(len(line), maxAsked)
	if n == 0 {
		delete(c.lines, id)
		delete(c.served, id)
		return nil
	}
	c.lines[id] = line[n:]
	return line[:n]
}

// serveLine decides until the line is empty. A host that went away is decided
// about like the others: it is told with its next heartbeat.
func (e *Engine) serveLine(ctx context.Context, id string) {
	for line := e.counter.nextInLine(id); line != nil; line = e.counter.nextInLine(id) {
		r, grants, err := e.decideInTime(ctx, id, line)
		e.patience.learnOutcome(err, time.Now())
		if err == nil {
			e.book.refreshRollout(r)
			for _, g := range grants {
				e.book.noteGrant(g)
			}
		}
		for _, a := range line {
			// What a transaction decided that was not committed is not decided.
			a.granted, a.err = a.granted && err == nil, err
			close(a.done)
		}
	}
}

func (e *Engine) decideInTime(ctx context.Context, id string, line []*asker) (api.Rollout, []api.Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, workWithin)
	defer cancel()
	return e.decideGrants(ctx, id, line)
}

// decideGrants admits hosts to the stored rollout while nobody else can change it,
// and returns it as it then is.
func (e *Engine) decideGrants(ctx context.Context, id string, line []*asker) (r api.Rollout, grants []api.Grant, err error) {
	_, err = e.opts.Store.Steer(ctx, self, id, func(tx *store.Tx, stored api.Rollout) error {
		// This may run again, see Steer: what the first run found was not stored.
		r, grants = stored, nil
		recent, err := recentGrants(ctx, tx, r)
		if err != nil {
			return err
		}
		for _, a := range line {
			g, made, err := e.admitHost(ctx, tx, &r, a.host, recent)
			if err != nil {
				return err
			}
			if a.granted = g.Host != ""; a.granted {
				grants = append(grants, g)
			}
			if made {
				recent++
			}
		}
		return nil
	})
	return r, grants, err
}

// admitHost grants one host if the policy and the other rollouts let it; a host
// that has the grant gets it again.
func (e *Engine) admitHost(ctx context.Context, tx *store.Tx, r *api.Rollout, h rollout.Host, recent int) (g api.Grant, made bool, err error) {
	// First of all: a host whose reply was lost asks again, and takes no second place
	// in its stage.
	g, err = tx.Grant(ctx, r.ID, h.Name)
	if err == nil && outcomeOf(g.Outcome, g.Reason) == takenBack {
		return api.Grant{}, false, nil
	}
	if err == nil || api.KindOf(err) != api.KindNotFound {
		return g, false, err
	}
	// Only a look, since another rollout is under another lock: of two that find a
	// host free at the same moment the unique key of PutGrant lets one win.
	if h.Busy, err = tx.HostBusy(ctx, r.ID, h.Name); err != nil {
		return api.Grant{}, false, err
	}
	next, d := rollout.Admit(*r, h, recent, tx.Now())
	if !d.Granted() {
		return api.Grant{}, false, nil
	}
	if err := tx.PutGrant(ctx, d.Grant, !r.Strategy.Parallel); err != nil {
		if api.KindOf(err) == api.KindConflict { // another rollout was faster
			return api.Grant{}, false, nil
		}
		return api.Grant{}, false, err
	}
	*r = next
	return d.Grant, true, tx.AppendEvents(ctx, api.Event{
		Host: h.Name, Time: tx.Now(), Kind: api.EventGrant, Agent: r.Agent, Rollout: r.ID, To: r.Version, Message: d.Message,
	})
}

func recentGrants(ctx context.Context, tx *store.Tx, r api.Rollout) (int, error) {
	rate := r.Strategy.Rate
	if rate == nil {
		return 0, nil
	}
	return tx.RecentGrants(ctx, r.ID, tx.Now().Add(-time.Duration(rate.Period)*time.Second))
}
