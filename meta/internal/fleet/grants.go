package fleet

import (
	"slices"
	"strings"
	"sync"
)

// grantSet is the rollouts that a host was granted, shared by all hosts with
// the same ones. It never changes. A nil set is empty.
type grantSet struct {
	ids  []string
	back []string // granted, and taken back since: the host is told what it had
}

func (g *grantSet) has(id string) bool { return g != nil && slices.Contains(g.ids, id) }

func (g *grantSet) tookBack(id string) bool { return g != nil && slices.Contains(g.back, id) }

// grantSets holds each set once.
type grantSets struct {
	mu   sync.Mutex
	sets map[string]*grantSet
}

func (g *grantSets) with(old *grantSet, id string) *grantSet {
	if old.has(id) {
		return old
	}
	set := g.without(old, id).copy()
	set.ids = append(set.ids, id)
	return g.of(set)
}

// withReturned moves a rollout among those that were taken back.
func (g *grantSets) withReturned(old *grantSet, id string) *grantSet {
	if old.tookBack(id) {
		return old
	}
	set := g.without(old, id).copy()
	set.back = append(set.back, id)
	return g.of(set)
}

func (g *grantSets) without(old *grantSet, id string) *grantSet {
	if !old.has(id) && !old.tookBack(id) {
		return old
	}
	same := func(s string) bool { return s == id }
	set := old.copy()
	return g.of(grantSet{ids: slices.DeleteFunc(set.ids, same), back: slices.DeleteFunc(set.back, same)})
}

func (g *grantSet) copy() grantSet {
	if g == nil {
		return grantSet{}
	}
	return grantSet{ids: slices.Clone(g.ids), back: slices.Clone(g.back)}
}

func (g *grantSets) of(set grantSet) *grantSet {
	if len(set.ids)+len(set.back) == 0 {
		return nil
	}
	slices.Sort(set.ids)
	slices.Sort(set.back)
	key := strings.Join(set.ids, "\x00") + "\x01" + strings.Join(set.back, "\x00")
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sets == nil {
		g.sets = make(map[string]*grantSet)
	}
	if g.sets[key] == nil {
		g.sets[key] = &set
	}
	return g.sets[key]
}

// AddGrants notes that hosts have a rollout's grant: at start from the store,
// and when another replica made them. A grant made by [Granter] is noted by
// itself.
func (f *Fleet) AddGrants(rollout string, hosts ...string) {
	f.changeGrants(hosts, func(old *grantSet) *grantSet { return f.grants.with(old, rollout) })
}

// TakeBack notes that hosts are no longer told a rollout's target, though they
// were granted it: they are told what they would be without it.
func (f *Fleet) TakeBack(rollout string, hosts ...string) {
	f.changeGrants(hosts, func(old *grantSet) *grantSet { return f.grants.withReturned(old, rollout) })
}

func (f *Fleet) changeGrants(hosts []string, change func(old *grantSet) *grantSet) {
	for _, name := range hosts {
		sh := f.shardOf(name)
		sh.mu.Lock()
		if h := sh.hosts[name]; h == nil {
			sh.early[name] = change(sh.early[name])
		} else if next := change(h.grants); next != h.grants {
			h.grants, h.reply = next, nil
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
			if next := f.grants.without(h.grants, rollout); next != h.grants {
				h.grants, h.reply = next, nil
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
