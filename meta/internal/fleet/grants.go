package fleet

import (
	"slices"
	"strings"
	"sync"
)

// grantSet is the rollouts that a host was granted, shared by all hosts with
// the same ones. It never changes. A nil set is empty.
type grantSet struct{ ids []string }

func (g *grantSet) has(id string) bool { return g != nil && slices.Contains(g.ids, id) }

// grantSets holds each set once.
type grantSets struct {
	mu   sync.Mutex
	sets map[string]*grantSet
}

func (g *grantSets) with(old *grantSet, id string) *grantSet {
	if old.has(id) {
		return old
	}
	ids := []string{id}
	if old != nil {
		ids = append(ids, old.ids...)
	}
	return g.of(ids)
}

func (g *grantSets) without(old *grantSet, id string) *grantSet {
	if !old.has(id) {
		return old
	}
	ids := slices.DeleteFunc(slices.Clone(old.ids), func(s string) bool { return s == id })
	return g.of(ids)
}

func (g *grantSets) of(ids []string) *grantSet {
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	key := strings.Join(ids, "\x00")
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sets == nil {
		g.sets = make(map[string]*grantSet)
	}
	if g.sets[key] == nil {
		g.sets[key] = &grantSet{ids: ids}
	}
	return g.sets[key]
}

// AddGrants notes that hosts have a rollout's grant: at start from the store,
// and when another replica made them. A grant made by [Granter] is noted by
// itself.
func (f *Fleet) AddGrants(rollout string, hosts ...string) {
	for _, name := range hosts {
		sh := f.shardOf(name)
		sh.mu.Lock()
		if h := sh.hosts[name]; h != nil {
			f.grantLocked(h, rollout)
		} else {
			sh.early[name] = f.grants.with(sh.early[name], rollout)
		}
		sh.mu.Unlock()
	}
}

// DropGrants forgets a rollout that no configuration holds any more.
func (f *Fleet) DropGrants(rollout string) {
	for i := range f.shards {
		sh := &f.shards[i]
		sh.mu.Lock()
		for _, h := range sh.hosts {
			if h.grants.has(rollout) {
				h.grants = f.grants.without(h.grants, rollout)
				h.reply = nil
			}
		}
		for name, set := range sh.early {
			if set = f.grants.without(set, rollout); set == nil {
				delete(sh.early, name)
			} else {
				sh.early[name] = set
			}
		}
		sh.mu.Unlock()
	}
}

func (f *Fleet) grantLocked(h *host, rollout string) {
	h.grants = f.grants.with(h.grants, rollout)
	h.reply = nil
}
