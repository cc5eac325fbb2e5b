package backend

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

// impactSample is how many names an impact gives.
const impactSample = 10

// Impact compares what every host is told with what it would be told.
func (s assignments) Impact(ctx context.Context, a api.Assignment) (api.Impact, error) {
	inScope, err := s.inScope(a.Scope)
	if err != nil {
		return api.Impact{}, err
	}
	impact, rules := api.Impact{From: map[string]int{}, NoArtifact: map[string]int{}}, s.fleet.Snapshot()
	release, known := s.wantedRelease(a.Agent, a.Version)
	var held string // why the first host is
	refusing := s.fleet.Refusing(release)
	s.fleet.EachAgent(a.Agent, func(host fleet.Facts, on api.HostAgent) {
		if !inScope(host) {
			return
		}
		impact.Hosts++
		overruled := rules.Overruled(host, a.Agent, a.Scope)
		if refusing[host.Name] && !overruled && a.Cmd != meta.CmdStop {
			impact.Unsigned++
		}
		switch {
		case overruled:
			impact.Overruled++
		case a.Cmd != meta.CmdStop && known && len(release.Artifacts) > 0 && !release.RunsOn(host.Arch):
			impact.NoArtifact[host.Arch]++
		case wouldChange(on, a) && heldBy(rules, host, on, a.Agent) != "":
			impact.Held++
			held = cmp.Or(held, heldBy(rules, host, on, a.Agent))
		case wouldChange(on, a):
			impact.Changed++
			impact.From[on.Version]++
			if len(impact.Sample) < impactSample {
				impact.Sample = append(impact.Sample, host.Name)
			}
		}
	})
	bad, err := s.warnOfTakenBack(ctx, a)
	warnings := []string{s.warnOfRelease(a, impact), s.warnOfEmptyScope(a.Scope, impact), bad}
	if impact.Unsigned > 0 {
		warnings = append(warnings, fmt.Sprintf("%d of %d hosts require a signature that %s %s does not have, and refuse it until it has: %s", impact.Unsigned, impact.Hosts, a.Agent, a.Version, fleet.AdviseSigning(a.Agent, a.Version, release.Artifacts...)))
	}
	if impact.Held > 0 {
		warnings = append(warnings, fmt.Sprintf("%d of %d hosts are held (%s) and stay as they are until the hold is released", impact.Held, impact.Hosts, held))
	}
	impact.Warning = strings.Join(slices.DeleteFunc(warnings, func(w string) bool { return w == "" }), "; ")
	return impact, err
}

// heldBy says what keeps an agent of a host as it is, or is empty.
func heldBy(rules *fleet.Snapshot, host fleet.Facts, on api.HostAgent, agent string) string {
	if hold := rules.HoldOn(host, agent); hold != nil {
		return "hold " + hold.ID + ": " + hold.Reason
	}
	if on.Held {
		return "on the host: " + on.HoldReason
	}
	return ""
}

// warnOfEmptyScope warns of a scope that no host is in.
func (s assignments) warnOfEmptyScope(scope api.Scope, impact api.Impact) string {
	switch {
	case impact.Hosts > 0:
	case scope.Kind == api.ScopeHost:
		if near := api.Nearest(scope.Name, filters(s).hostsLike(scope.Name)); near != "" {
			return fmt.Sprintf("no host %s has sent a heartbeat yet; did you mean %q?", scope.Name, near)
		}
		return "no host " + scope.Name + " has sent a heartbeat yet"
	case scope.Kind == api.ScopeGroup:
		return "group " + scope.Name + " matches no known host"
	}
	return ""
}

// warnOfTakenBack warns of a release that was taken back.
func (s assignments) warnOfTakenBack(ctx context.Context, a api.Assignment) (string, error) {
	if a.Cmd == meta.CmdStop || a.Version == "" {
		return "", nil
	}
	list, err := s.store.RolloutsOf(ctx, a.Agent, a.Version)
	if err != nil {
		return "", err
	}
	if r, bad := rollout.TakenBack(list); bad {
		return takenBackText(r), nil
	}
	return "", nil
}

// inScope tells the hosts of a scope.
func (s assignments) inScope(scope api.Scope) (func(fleet.Facts) bool, error) {
	switch scope.Kind {
	case api.ScopeHost:
		return func(h fleet.Facts) bool { return h.Name == scope.Name }, nil
	case api.ScopeGroup:
		for _, g := range s.wanted.Load().Groups {
			if g.Name != scope.Name {
				continue
			}
			selector, err := fleet.CompileSelector(g.Selector)
			if err != nil {
				return nil, err
			}
			return selector.Match, nil
		}
		e := api.Errorf(api.KindInvalid, "there is no group %.80q", scope.Name)
		e.Field, e.Noun, e.Name = "scope.name", "group", scope.Name
		return nil, e
	case api.ScopeEveryone, api.ScopeAgent:
	}
	return func(fleet.Facts) bool { return true }, nil
}

// wouldChange reports whether an assignment would have a host do something.
func wouldChange(on api.HostAgent, a api.Assignment) bool {
	switch {
	case on.Name == "":
		return true
	case a.Cmd == meta.CmdStop:
		return on.Status != meta.StatusStopped || on.Wanted != a.Version
	}
	return on.Wanted != a.Version || on.Status == meta.StatusStopped
}

// warnOfRelease says what stands in the way of an assignment.
func (s assignments) warnOfRelease(a api.Assignment, impact api.Impact) string {
	release, known := s.wantedRelease(a.Agent, a.Version)
	without := 0
	for _, n := range impact.NoArtifact {
		without += n
	}
	switch {
	case !known:
		return fmt.Sprintf("there is no release %s %s", a.Agent, a.Version)
	case len(release.Artifacts) == 0:
		return fmt.Sprintf("release %s %s has no artifact yet", a.Agent, a.Version)
	case without == 0:
		return ""
	case without == impact.Hosts-impact.Overruled:
		return "no host of " + a.Scope.String() + " can have " + release.Lacks(impact.NoArtifact)
	}
	return "not every host can have " + release.Lacks(impact.NoArtifact) + "; those keep what they have"
}

// wantedRelease is one of what is wanted now.
func (s assignments) wantedRelease(agent, version string) (api.Release, bool) {
	for _, r := range s.wanted.Load().Releases {
		if r.Agent == agent && r.Version == version {
			return r, true
		}
	}
	return api.Release{}, false
}
