package sim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// host is one simulated machine.
type host struct {
	index  uint64
	beats  uint64 // sent so far
	boots  uint64
	booted int64 // Unix seconds
	agents []agent
	etag   string
	due    time.Time
	pace   time.Duration // between heartbeats
	busy   bool          // a worker has it
}

// agent is one agent of a host and where its upgrade stands.
type agent struct {
	name        string
	version     string
	previous    string
	want        string // being upgraded to; empty: nothing going on
	quarantined string // failed here
	rollout     string // that brought it
	failure     string
	phase       meta.Phase
	stopped     bool
	until       time.Time // when the phase ends
}

func (s *Sim) newHost(i int, now time.Time) *host {
	h := &host{index: uint64(i), pace: s.cfg.Interval, booted: 1_700_000_000 + int64(mixParts(s.cfg.Seed, uint64(i), drawBoot)%1e7), agents: make([]agent, 0, len(s.cfg.Agents))}
	for _, a := range s.cfg.Agents {
		h.agents = append(h.agents, agent{name: a.Name, version: a.Version, phase: meta.PhaseIdle})
	}
	h.due = now.Add(time.Duration(float64(s.cfg.Interval) * s.drawNow(h, drawStart)))
	return h
}

func (s *Sim) drawNow(h *host, what uint64) float64 {
	return drawChance(s.cfg.Seed, h.index, what, h.beats)
}

// drawOnce draws what stays the same for a host's life.
func (s *Sim) drawOnce(h *host, what uint64) float64 { return drawChance(s.cfg.Seed, h.index, what) }

func (s *Sim) dialectOf(h *host) meta.Dialect {
	if s.drawOnce(h, drawDialect) < s.cfg.Legacy {
		return meta.DialectLegacy
	}
	return meta.DialectV1
}

// nameOf has the same length for all hosts, as names in a fleet tend to.
func (s *Sim) nameOf(h *host) string {
	digits := strconv.Itoa(int(h.index))
	return s.cfg.Prefix + "-" + "0000000"[:max(7-len(digits), 0)] + digits
}

// stepHost lets happen what happens to a host between two heartbeats.
func (s *Sim) stepHost(h *host, now time.Time) {
	for i := range h.agents {
		s.advanceUpgrade(h, &h.agents[i], now)
	}
	if len(h.agents) > 0 && s.drawNow(h, drawChange) < s.cfg.Changed {
		a := &h.agents[int(h.beats)%len(h.agents)]
		a.stopped = !a.stopped
	}
	if s.drawNow(h, drawRestart) < s.cfg.Restarts {
		h.boots++
		h.booted = now.Unix()
	}
}

// advanceUpgrade moves an upgrade on: downloading ends in probation or back on the
// previous version, probation in content.
func (s *Sim) advanceUpgrade(h *host, a *agent, now time.Time) {
	if a.want == "" || now.Before(a.until) {
		return
	}
	switch a.phase {
	case meta.PhaseProbation:
		a.phase, a.want = meta.PhaseIdle, ""
	default:
		if s.failsOn(h, a.name, a.want) {
			a.phase, a.quarantined, a.failure = meta.PhaseRolledBack, a.want, "status was stoped for 30 s after the start of "+a.want
			return
		}
		a.previous, a.version, a.stopped = a.version, a.want, false
		a.phase, a.until = meta.PhaseProbation, now.Add(s.cfg.Probation)
	}
}

// failsOn is the fate of a version on a host: it never changes.
func (s *Sim) failsOn(h *host, name, version string) bool {
	for _, f := range s.cfg.Failures {
		if f.Agent == name && f.Version == version {
			return drawChance(s.cfg.Seed, h.index, drawFate, hashText(name+"@"+version)) < f.Share
		}
	}
	return false
}

// obeyReply does what a reply says, as far as a sidecar would.
func (s *Sim) obeyReply(h *host, desired []meta.DesiredAgent, now time.Time) {
	for _, d := range desired {
		a := h.agentNamed(d.Name)
		switch {
		case d.Cmd == meta.CmdStop:
			a.stopped = true
		case d.Cmd != meta.CmdStart || d.Version == a.quarantined || d.Version == a.want:
		case d.Version == a.version:
			a.rollout = d.Rollout
			if a.want == "" {
				a.phase, a.failure, a.quarantined = meta.PhaseIdle, "", ""
			} else if a.phase != meta.PhaseProbation {
				a.phase, a.want, a.failure = meta.PhaseIdle, "", ""
			}
		default:
			a.want, a.rollout, a.phase, a.failure = d.Version, d.Rollout, meta.PhaseDownloading, ""
			a.until = now.Add(s.jitterOf(h, s.cfg.Upgrade))
		}
	}
}

func (h *host) agentNamed(name string) *agent {
	for i := range h.agents {
		if h.agents[i].name == name {
			return &h.agents[i]
		}
	}
	h.agents = append(h.agents, agent{name: name, phase: meta.PhaseIdle, stopped: true})
	return &h.agents[len(h.agents)-1]
}

// jitterOf is d ±10 %.
func (s *Sim) jitterOf(h *host, d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*s.drawNow(h, drawJitter)))
}

// planNext says when a host reports next: after its interval, or when an upgrade
// comes to its next phase.
func (s *Sim) planNext(h *host, now time.Time) {
	h.due = now.Add(s.jitterOf(h, h.pace))
	for i := range h.agents {
		a := &h.agents[i]
		if a.want != "" && a.phase != meta.PhaseRolledBack && a.until.Before(h.due) {
			h.due = a.until
		}
	}
}

// reportOf is what a host says now.
func (s *Sim) reportOf(h *host, now time.Time) meta.HeartbeatRequest {
	legacy := s.dialectOf(h) == meta.DialectLegacy
	req := meta.HeartbeatRequest{Hostname: s.nameOf(h), RealAgents: make([]meta.RealAgent, 0, len(h.agents))}
	for i := range h.agents {
		a := &h.agents[i]
		ra := meta.RealAgent{Name: a.name, Version: a.version, Status: meta.StatusStarted, Timestamp: now.Unix()}
		if a.stopped {
			ra.Status = meta.StatusStopped
		}
		if !legacy {
			ra.RunUser, ra.WorkDir = a.name, "/opt/agents"
			ra.Phase, ra.DesiredVersion, ra.PreviousVersion, ra.Error, ra.Rollout = a.phase, a.want, a.previous, a.failure, a.rollout
			if ra.DesiredVersion == "" {
				ra.DesiredVersion = a.version
			}
		}
		req.RealAgents = append(req.RealAgents, ra)
	}
	if legacy {
		return req
	}
	req.IP = fmt.Sprintf("10.%d.%d.%d", h.index>>16&255, h.index>>8&255, h.index&255)
	req.RunUser, req.UpdaterVersion, req.Protocol = "root", "1.0.0", meta.Protocol
	req.Arch = s.cfg.Arches[int(h.index)%len(s.cfg.Arches)]
	boot := mixParts(s.cfg.Seed, h.index, drawBoot, h.boots)
	req.BootID = fmt.Sprintf("%08x-%04x-4000-8000-%012x", boot>>32, boot>>16&0xffff, mixParts(boot, 1)&(1<<48-1))
	req.BootTime = h.booted
	if s.cfg.Labels {
		req.Labels = map[string]string{"zone": "z" + strconv.Itoa(int(h.index%4)), "rack": "r" + strconv.Itoa(int(h.index%500))}
	}
	return req
}
