package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// hosts joins the fleet to the API.
type hosts struct{ *core }

// Overview counts the fleet.
func (s hosts) Overview(context.Context) (api.Overview, error) {
	o := s.fleet.Overview()
	o.Standstill = s.wanted.Load().Standstill
	return o, nil
}

// Hosts lists what a query picks.
func (s hosts) Hosts(_ context.Context, q api.HostQuery) (api.Page[api.Host], error) {
	if err := api.Unknown("trust", q.Trust, api.TrustStates()); err != nil {
		return api.Page[api.Host]{}, err
	}
	return s.fleet.List(q)
}

func noHost(name string) error {
	return &api.Error{
		Kind: api.KindNotFound, Message: "there is no host " + name, Noun: "host", Name: name,
		Hint: "ops-meta hosts lists those that have sent a heartbeat",
	}
}

// Host returns one.
func (s hosts) Host(_ context.Context, name string) (api.Host, error) {
	h, ok := s.fleet.Host(name)
	if !ok {
		return h, noHost(name)
	}
	return h, nil
}

// Match lists the hosts that a selector would pick.
func (s hosts) Match(ctx context.Context, selector api.Selector, c api.Cursor) (api.Page[api.Host], error) {
	compiled, err := fleet.CompileSelector(selector)
	if err != nil {
		return api.Page[api.Host]{}, err
	}
	c.Limit = cmp.Or(c.Limit, api.DefaultPage)
	ctx, cancel := context.WithTimeout(ctx, matchTime)
	defer cancel()
	page, err := s.fleet.Match(ctx, compiled, c)
	if errors.Is(err, context.DeadlineExceeded) {
		return page, &api.Error{Kind: api.KindUnavailable, Message: fmt.Sprintf("matching all hosts takes longer than %v", matchTime), Hint: "use fewer or simpler regular expressions"}
	}
	return page, err
}

// matchTime is how long a selector that somebody tries may take.
const matchTime = 10 * time.Second

// Explain says what a host is told, and why.
func (s hosts) Explain(ctx context.Context, name string) (api.Explanation, error) {
	if err := (api.Scope{Kind: api.ScopeHost, Name: name}).Validate(); err != nil {
		return api.Explanation{}, err
	}
	e := s.fleet.Explain(name)
	if h, ok := s.fleet.Host(name); ok {
		s.explainTrust(&e, h)
	}
	if len(e.Agents) > 0 {
		s.explainRemits(ctx, &e)
	}
	return e, nil
}

// explainRemits adds which remits cover what the host is told. While the database
// does not answer that is left out: the rest is known without it.
func (s hosts) explainRemits(ctx context.Context, e *api.Explanation) {
	ctx, cancel := context.WithTimeout(ctx, remitsWithin)
	defer cancel()
	given, err := s.givenRemits(ctx)
	if err != nil {
		return
	}
	for i := range e.Agents {
		reach := api.Reach{Agent: e.Agents[i].Agent, Scope: api.Scope{Kind: api.ScopeHost, Name: e.Host}}
		e.Agents[i].Remits = given.Covering(reach, s.fleet.HasMember)
	}
}

// remitsWithin is how long an explanation waits for the remits.
const remitsWithin = time.Second

// givenRemits are those that somebody has, each once, sorted.
func (s hosts) givenRemits(ctx context.Context) (given api.Remits, err error) {
	tokens, err := readAllPages(func(c api.Cursor) (api.Page[api.Token], error) { return s.store.Tokens(ctx, c) })
	if err != nil {
		return nil, err
	}
	users, err := readAllPages(func(c api.Cursor) (api.Page[store.KeptUser], error) { return s.store.Users(ctx, "", c) })
	if err != nil {
		return nil, err
	}
	sessions, err := readAllPages(func(c api.Cursor) (api.Page[api.Session], error) { return s.store.Sessions(ctx, "", c) })
	if err != nil {
		return nil, err
	}
	for _, t := range tokens {
		given = append(given, t.Remits...)
	}
	for _, u := range users {
		given = append(given, u.Remits...)
	}
	for _, on := range sessions {
		given = append(given, on.Remits...)
	}
	slices.Sort(given)
	return slices.Compact(given), nil
}

// DeleteHost forgets one.
func (s hosts) DeleteHost(ctx context.Context, by api.Actor, name string) error {
	err := s.write(ctx, by, func(tx *store.Tx) error { return tx.DeleteHost(ctx, name) })
	unsaved := api.KindOf(err) == api.KindNotFound
	if err != nil && !unsaved {
		return err
	}
	s.access.ForgetToken(name)
	known := s.fleet.ForgetHost(name)
	s.engine.Forget(name)
	if unsaved && !known {
		return noHost(name)
	}
	s.feed.Publish("host", name)
	return nil
}
