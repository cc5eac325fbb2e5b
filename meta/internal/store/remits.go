package store

import (
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta/api"
)

// JudgeMembers says how to find out whether a host is in a group, for remits
// that are for a group. Until then no host is. Call it before anything is written.
func (s *Store) JudgeMembers(isMember func(host, group string) bool) { s.isMember = isMember }

// change is one entry of the audit log on its way there.
type change struct {
	action, kind, name string
	before, after      any // nil when there was or is nothing
}

// checkRemits refuses a change that the remits of who makes it do not cover. It is
// the one place that every write of an operator passes.
func (tx *Tx) checkRemits(c change) error {
	remits := tx.actor.Remits
	if len(remits) == 0 || c.isOwn(tx.actor.Name) {
		return nil
	}
	said := false
	for _, thing := range []any{c.before, c.after} {
		if thing == nil {
			continue
		}
		reaches := reachesOf(thing)
		if said = len(reaches) > 0; !said {
			break
		}
		for _, r := range reaches {
			if len(remits.Covering(r, tx.store.hasMember)) == 0 {
				return api.OutsideRemit(tx.actor, c.inWords(), &r)
			}
		}
	}
	if !said {
		return api.OutsideRemit(tx.actor, c.inWords(), nil)
	}
	return nil
}

// inWords is the change for people, without an identifier that was only just made.
func (c change) inWords() string {
	what := c.action + " " + c.kind
	if c.before == nil && (c.kind == rollouts.kind || c.kind == holds.kind) {
		return what
	}
	return what + " " + strings.TrimSuffix(c.name, "/")
}

func (s *Store) hasMember(host, group string) bool {
	return s.isMember != nil && s.isMember(host, group)
}

// isOwn reports whether a change is about nothing but the person who makes it:
// their session, or their password.
func (c change) isOwn(name string) bool {
	switch before := c.before.(type) {
	case api.Session:
		return c.kind == "session" && before.Name == name
	case KeptUser:
		after, there := c.after.(KeptUser)
		return there && before.Name == name && after.Name == name && after.Role == before.Role && slices.Equal(after.Remits, before.Remits)
	}
	return false
}

// reachesOf is what a thing that is written is about; nothing when no remit
// covers it, such as a group, whose hosts are what remits are said by.
func reachesOf(thing any) []api.Reach {
	everyone := api.Scope{Kind: api.ScopeEveryone}
	switch t := thing.(type) {
	case api.Agent:
		return []api.Reach{{Agent: t.Name, Scope: everyone}}
	case api.Release:
		return []api.Reach{{Agent: t.Agent, Scope: everyone}}
	case storedArtifact:
		return []api.Reach{{Agent: t.Agent, Scope: everyone}}
	case api.Channel:
		return []api.Reach{{Agent: t.Agent, Scope: everyone}}
	case api.Assignment:
		return []api.Reach{{Agent: t.Agent, Scope: t.Scope}}
	case api.Rollout:
		return []api.Reach{{Agent: t.Agent, Scope: t.Scope}}
	case storedHold:
		if t.Scope.Kind == api.ScopeAgent {
			return []api.Reach{{Agent: t.Scope.Name, Scope: everyone}}
		}
		return []api.Reach{{Scope: t.Scope}}
	case api.Schedule:
		t = t.WithScope()
		if len(t.Agents) == 0 {
			return []api.Reach{{Scope: t.Scope}}
		}
		var reaches []api.Reach
		for _, agent := range t.Agents {
			reaches = append(reaches, api.Reach{Agent: agent, Scope: t.Scope})
		}
		return reaches
	}
	return nil
}
