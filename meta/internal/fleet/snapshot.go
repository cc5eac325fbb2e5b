package fleet

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Snapshot is a [Config] compiled: immutable but for the answers it remembers.
type Snapshot struct {
	number   uint64 // of this compilation
	cfg      Config
	signer   *signer // of replies, which outlive a snapshot
	rules    ruleTable
	holds    holdTable
	matchers []matcher
	set      *selectorSet // theirs
	agents   map[string]api.Agent
	releases map[releaseKey]*api.Release
	rollouts map[string]bool // that are in force, by id
	problems []string

	mu       sync.RWMutex
	profiles map[string]*profile
}

var compilations atomic.Uint64

// maxProfiles bounds what a snapshot remembers, should each host need its own.
const maxProfiles = 1 << 20

type releaseKey struct{ agent, version string }

// Compile makes a snapshot of what is wanted at now. It never fails: what is
// wrong in a configuration is left out and told by [Snapshot.Problems].
func Compile(cfg Config, now time.Time) *Snapshot {
	cfg.Signing = cfg.Signing.withTag()
	s := &Snapshot{
		number: compilations.Add(1), cfg: cfg, signer: &signer{cfg.Signing, cfg.Serial}, rules: newRuleTable(cfg.Wanted), holds: newHoldTable(cfg.Holds, now),
		agents:   make(map[string]api.Agent, len(cfg.Agents)),
		releases: make(map[releaseKey]*api.Release, len(cfg.Releases)),
		rollouts: rolloutIDs(cfg.Rollouts),
		profiles: make(map[string]*profile),
	}
	s.matchers, s.problems = newMatchers(cfg.Wanted)
	list := make([]*Selector, len(s.matchers))
	for i, m := range s.matchers {
		list[i] = m.selector
	}
	s.set = selectors.setOf(list)
	for _, a := range cfg.Agents {
		s.agents[a.Name] = a
	}
	for i, r := range cfg.Releases {
		s.releases[releaseKey{r.Agent, r.Version}] = &cfg.Releases[i]
	}
	return s
}

// WithRollout is what is wanted with one more rollout, as it stands to hosts when it begins.
func (s *Snapshot) WithRollout(r api.Rollout, now time.Time) *Snapshot {
	cfg := s.cfg
	cfg.Rollouts = append(slices.Clone(cfg.Rollouts), r)
	return Compile(cfg, now)
}

// Serial is the configuration's.
func (s *Snapshot) Serial() int64 { return s.cfg.Serial }

// ValidUntil is when a hold ends and the configuration must be compiled
// again; zero when none does.
func (s *Snapshot) ValidUntil() time.Time { return s.holds.next }

// Problems is what is wrong in the configuration and was left out.
func (s *Snapshot) Problems() []string { return slices.Clone(s.problems) }

// Groups returns the names of the groups that match a host, sorted.
func (s *Snapshot) Groups(f Facts) []string {
	names := []string{}
	for _, m := range s.matchers {
		if m.selector.Match(f) {
			names = append(names, m.group.Name)
		}
	}
	slices.Sort(names)
	return names
}

// profileByFacts finds the profile of a host by its facts.
func (s *Snapshot) profileByFacts(f Facts, t target) *profile {
	return s.profileFor(f.Name, s.set.membershipOf(f, nil), t)
}

// profileFor finds or makes the profile of a host. Hosts share one when the
// same groups match them, their tarballs are the same, and no rule names them.
func (s *Snapshot) profileFor(host string, member *membership, t target) *profile {
	var matched []int
	var key strings.Builder
	key.WriteString(string(t.dialect))
	key.WriteByte(byte(countOf(t.fillsPlaces)))
	key.WriteString(t.arch)
	for _, i := range member.matched {
		if s.matchers[i].relevant {
			matched = append(matched, i)
			key.Write([]byte{0, byte(i), byte(i >> 8), byte(i >> 16)})
		}
	}
	if s.rules.hosts[host] != nil || s.holds.hosts[host] != nil {
		key.WriteString("\x00host\x00")
		key.WriteString(host)
	}
	return s.profileOf(key.String(), host, matched, t)
}

func (s *Snapshot) profileOf(key, host string, matched []int, t target) *profile {
	s.mu.RLock()
	p := s.profiles[key]
	s.mu.RUnlock()
	if p != nil {
		return p
	}
	p = s.newProfile(host, matched, t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.profiles[key]; other != nil {
		return other
	}
	if len(s.profiles) < maxProfiles {
		s.profiles[key] = p
	}
	return p
}

// candidateRules walks the rules for a host, narrowest scope first, and groups
// them by agent in the order of their names.
func (s *Snapshot) candidateRules(host string, matched []int) ([]string, map[string][]rule) {
	byAgent := make(map[string][]rule)
	add := func(rules []*agentRule, priority int) {
		for _, ar := range rules {
			r := ar.rule
			r.priority = priority
			byAgent[ar.agent] = append(byAgent[ar.agent], r)
		}
	}
	add(s.rules.hosts[host], 0)
	for _, i := range matched {
		add(s.rules.groups[s.matchers[i].group.Name], s.matchers[i].group.Priority)
	}
	add(s.rules.everyone, 0)
	names := make([]string, 0, len(byAgent))
	for name := range byAgent {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, byAgent
}

func (s *Snapshot) sourceOf(agent, version string) source {
	a, known := s.agents[agent]
	if !known {
		a.Name = agent
	}
	return source{agent: a, version: version, release: s.releases[releaseKey{agent, version}], base: s.cfg.PublicURL}
}
