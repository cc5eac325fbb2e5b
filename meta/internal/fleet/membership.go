package fleet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"sync"

	"github.com/ops-updater/ops-updater/meta/api"
)

// selectorSet is the selectors of all groups in their order. Snapshots whose
// groups are the same share one, so that a write which changes no selector has
// no host matched again; and a host that comes from another set is matched
// only by the selectors that are new in this one.
type selectorSet struct {
	selectors []*Selector
	places    map[*Selector]int

	mu      sync.RWMutex
	members map[string]*membership
}

// membership is which selectors of a set match a host. Hosts share it.
type membership struct {
	set     *selectorSet
	matched []int // places in the set, ascending
}

// maxMemberships bounds what a set remembers, should each host be matched by
// groups of its own.
const maxMemberships = 1 << 16

// membershipOf finds what matches a host, given what matched it before, which may be of
// another set or nil.
func (s *selectorSet) membershipOf(f Facts, before *membership) *membership {
	matched := make([]int, 0, 8)
	for i, sel := range s.selectors {
		yes := false
		if place, old := before.placeOf(sel); old {
			_, yes = slices.BinarySearch(before.matched, place)
		} else {
			yes = sel.Match(f)
		}
		if yes {
			matched = append(matched, i)
		}
	}
	return s.sharedMembership(matched)
}

func (m *membership) placeOf(sel *Selector) (int, bool) {
	if m == nil {
		return 0, false
	}
	place, ok := m.set.places[sel]
	return place, ok
}

func (s *selectorSet) sharedMembership(matched []int) *membership {
	key := make([]byte, 0, 32)
	for _, i := range matched {
		key = binary.AppendUvarint(key, uint64(i))
	}
	s.mu.RLock()
	m := s.members[string(key)]
	s.mu.RUnlock()
	if m != nil {
		return m
	}
	m = &membership{set: s, matched: slices.Clip(matched)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.members[string(key)]; other != nil {
		return other
	}
	if len(s.members) < maxMemberships {
		s.members[string(key)] = m
	}
	return m
}

// selectors remembers those of the last compilations by what they say: the
// same text is the same selector, and the same groups are the same set.
var selectors = selectorCache{byText: make(map[[sha256.Size]byte]*cachedSelector)}

type selectorCache struct {
	mu     sync.Mutex
	round  uint64
	byText map[[sha256.Size]byte]*cachedSelector
	last   []*selectorSet // of the last compilations
}

type cachedSelector struct {
	selector *Selector
	err      error
	round    uint64 // when it was last used
}

// keptRounds is for how many compilations what they used is kept: dry runs
// compile, too.
const keptRounds = 4

func (c *selectorCache) compileSelector(s api.Selector) (*Selector, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byText[key]
	if e == nil {
		e = &cachedSelector{}
		e.selector, e.err = CompileSelector(s)
		c.byText[key] = e
	}
	e.round = c.round
	return e.selector, e.err
}

// setOf ends a compilation: it finds the set of its selectors.
func (c *selectorCache) setOf(list []*Selector) *selectorSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.round++
	for key, e := range c.byText {
		if e.round+keptRounds < c.round {
			delete(c.byText, key)
		}
	}
	for _, s := range c.last {
		if slices.Equal(s.selectors, list) {
			return s
		}
	}
	s := &selectorSet{selectors: list, places: make(map[*Selector]int, len(list)), members: make(map[string]*membership)}
	for i, sel := range list {
		s.places[sel] = i
	}
	c.last = append(c.last, s)
	if len(c.last) > keptRounds {
		c.last = slices.Delete(c.last, 0, 1)
	}
	return s
}

// profileOf finds the profile of a host. Its shard is locked.
func (f *Fleet) profileOf(snap *Snapshot, h *host) *profile {
	if h.member == nil || h.member.set != snap.set {
		h.member = snap.set.membershipOf(f.factsOf(h), h.member)
	}
	return snap.profileFor(h.name, h.member, h.facts.Value().targetOf())
}
