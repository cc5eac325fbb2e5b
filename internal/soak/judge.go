package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

// Bounds of what a host may keep.
const (
	maxVersions = 4       // of an agent at one place: running, previous, wanted, and one that failed
	maxVar      = 8 << 20 // bytes in the sidecar's own directory
)

// sayEvery is how often it is said that a host has not come to rest.
const sayEvery = 10 * time.Second

// calmDown takes the causes away, waits until the host has come to rest and judges it.
func (r *run) calmDown(ctx context.Context) error {
	r.meta.setMood(calm)
	r.host.empty()
	for name, w := range r.wants {
		w.cmd, w.absent = "", false
		r.wants[name] = w
	}
	r.meta.want(r.wants)
	if err := r.host.checkAlive(r.tally.Kills); err != nil {
		return err
	}
	if r.host.isUp() && r.host.sidecar.fault { // none dies at a fault point any more
		r.host.down(r)
	}
	if err := r.host.start(""); err != nil {
		return err
	}
	if err := r.clearUp(ctx); err != nil {
		return err
	}
	heard, err := r.awaitRest(ctx)
	if err != nil {
		return err
	}
	return r.judge(ctx, heard)
}

// clearUp is what a person does when the trouble is over: no holds, and what failed
// is tried again.
func (r *run) clearUp(ctx context.Context) error {
	deadline := time.Now().Add(patience)
	for {
		_, err := r.host.command(ctx, "status", "--json")
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("I6: the sidecar does not answer: %w", err)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	for _, agent := range shaken {
		// An agent that the sidecar has forgotten, or has no hold, refuses.
		_, _ = r.host.command(ctx, "unhold", agent)
		_, _ = r.host.command(ctx, "clear", agent)
	}
	return nil
}

// awaitRest returns what was reported once the server has heard twice that every
// agent is where it has to be.
func (r *run) awaitRest(ctx context.Context) (map[string]meta.RealAgent, error) {
	const atRest = 2
	_, first := r.meta.last()
	began := time.Now()
	seen, calmBeats, deadline, said := first, 0, began.Add(patience), began
	for {
		heard, beat := r.meta.last()
		restless := r.restless(heard)
		if beat > seen && beat > first+1 { // the one after the first was told the last wish
			seen = beat
			calmBeats++
			if restless != "" {
				calmBeats = 0
			}
		}
		if calmBeats >= atRest {
			return heard, nil
		}
		if err := r.host.checkAlive(r.tally.Kills); err != nil {
			return nil, err
		}
		if !r.host.isUp() {
			return nil, errors.New("I6: the sidecar is gone at a calm time")
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("I2: the host does not come to rest in %v, %d heartbeats: %s", patience, beat-first, restless)
		}
		if time.Since(said) > sayEvery && restless != "" {
			said = time.Now()
			r.Progress("soak: not at rest after %s: %s", time.Since(began).Round(time.Second), restless)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// restless says what is not at rest, or nothing.
func (r *run) restless(heard map[string]meta.RealAgent) string {
	for _, name := range agents {
		w, a := r.wants[name], heard[name]
		resting := a.Status == meta.StatusStarted && a.WorkDir == w.place && a.Version == w.version && a.Phase == meta.PhaseIdle
		if !resting && !isGood(w.version) {
			resting = a.Status == meta.StatusStarted && a.Version != w.version && a.Version != "" && a.Error != "" &&
				(a.Phase == meta.PhaseRolledBack || a.Phase == meta.PhaseFailed)
		}
		if !resting {
			return fmt.Sprintf("%s, wanted %+v, reported %+v", name, w, a)
		}
	}
	return ""
}

// judge looks at every invariant of a host at rest.
func (r *run) judge(ctx context.Context, heard map[string]meta.RealAgent) error {
	for _, agent := range agents {
		a := heard[agent]
		if a.Version == r.wants[agent].version {
			r.tally.Wanted++
		} else {
			r.tally.Previous++
		}
		if err := errors.Join(r.host.judgeFiles(agent), r.host.judgeProcesses(ctx, a), r.host.judgeEvents(agent)); err != nil {
			return err
		}
	}
	return errors.Join(r.host.judgeOutside(), r.host.judgeTold(ctx, heard))
}

// judgeFiles: I1 and I5 of an agent, wherever it has been.
func (h *host) judgeFiles(agent string) error {
	for _, place := range h.placesOf(agent) {
		dir := filepath.Join(place, agent)
		named, err := os.ReadFile(filepath.Join(dir, ".version"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("I1: %w", err)
		}
		if err == nil {
			if err := complete(filepath.Join(dir, string(named))); err != nil {
				return fmt.Errorf("I1: .version of %s names %q, which is not complete: %w", dir, named, err)
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("I5: %w", err)
		}
		count := 0
		for _, e := range entries {
			name := e.Name()
			switch {
			case slices.ContainsFunc(versions, func(v version) bool { return v.name == name }):
				count++
			case strings.HasPrefix(name, ".staging"), strings.HasPrefix(name, ".trash"), strings.Contains(name, ".tmp-"), strings.HasPrefix(name, ".part"):
				return fmt.Errorf("I5: %s was left in %s", name, dir)
			case !strings.HasPrefix(name, "."):
				return fmt.Errorf("I4: %s in %s is nobody's", name, dir)
			}
		}
		if count > maxVersions {
			return fmt.Errorf("I5: %s keeps %d versions", dir, count)
		}
	}
	return nil
}

// complete: everything that a release carries is there, at its whole length.
func complete(dir string) error {
	for name, least := range map[string]int64{"control": 500, "app": 200, "ballast": 5 * 8 << 10} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if fi.Size() < least || fi.Mode().Perm()&0o100 == 0 {
			return fmt.Errorf("%s has %d bytes and mode %v", name, fi.Size(), fi.Mode())
		}
	}
	return nil
}

// judgeProcesses: I2, the version that is reported runs, once, and nothing else does.
func (h *host) judgeProcesses(ctx context.Context, a meta.RealAgent) error {
	want := filepath.Join(a.WorkDir, a.Name, a.Version)
	var apps []process
	for range 40 { // an application that was called started a moment ago may not have become one yet
		apps = h.apps(a.Name)
		if len(apps) == 1 && apps[0].dir == want {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("I2, I3: %s is reported to run in %s; what runs: %+v", a.Name, want, apps)
}

// judgeEvents: I3, I4 and I6, by what the applications saw themselves.
func (h *host) judgeEvents(agent string) error {
	data, err := os.ReadFile(filepath.Join(h.judge, agent+".events"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		switch what, _, _ := strings.Cut(line, " "); what {
		case "two-at-once":
			return fmt.Errorf("I3: %s was started while another one ran: %s", agent, line)
		case "forged":
			return fmt.Errorf("I4: what nobody released was executed: %s: %s", agent, line)
		}
	}
	if n := strings.Count(string(data), "\n"); agent == bystander && n != 1 {
		return fmt.Errorf("I6: the bystander was disturbed:\n%s", data)
	}
	return nil
}

// judgeOutside: I4 and I5, of everything that is no agent's.
func (h *host) judgeOutside() error {
	for dir, known := range map[string][]string{
		h.top:                     {"cfg.json", "far", "judge", "near", "output", "own"},
		filepath.Dir(h.places[0]): {"work"},
		filepath.Dir(h.places[1]): {"work"},
		filepath.Dir(h.varDir):    {"var"},
		h.places[0]:               agents,
		h.places[1]:               agents,
	} {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) { // nothing has been there yet
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !slices.Contains(known, e.Name()) {
				return fmt.Errorf("I4: %s was written in %s", e.Name(), dir)
			}
		}
	}
	var size int64
	err := filepath.WalkDir(h.varDir, func(path string, e os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) { // written and renamed meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		if fi, err := e.Info(); err == nil && e.Type().IsRegular() && e.Name() != "app.log" {
			size += fi.Size()
		}
		return nil
	})
	if err != nil || size > maxVar {
		return fmt.Errorf("I5: the sidecar keeps %d bytes: %w", size, err)
	}
	return nil
}

// spoken is what the bad releases say of themselves, or what is said of those that
// say nothing.
var spoken = []string{"queue full", "no licence", "stoped", "stopped during probation"}

// judgeTold: I7, what the heartbeat says is in status and log, too.
func (h *host) judgeTold(ctx context.Context, heard map[string]meta.RealAgent) error {
	out, err := h.command(ctx, "status", "--json")
	if err != nil {
		return fmt.Errorf("I6: %w", err)
	}
	var status struct {
		Agents []meta.RealAgent `json:"agents"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return fmt.Errorf("I7: %w", err)
	}
	var logged strings.Builder
	logs, _ := filepath.Glob(filepath.Join(h.varDir, "app*.log"))
	for _, path := range logs {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		logged.Write(data)
	}
	for _, a := range heard {
		i := slices.IndexFunc(status.Agents, func(s meta.RealAgent) bool { return s.Name == a.Name })
		if i < 0 || status.Agents[i].Phase != a.Phase || status.Agents[i].Error != a.Error {
			return fmt.Errorf("I7: the heartbeat says %+v of %s, status says %+v", a, a.Name, status.Agents)
		}
		if a.Phase != meta.PhaseRolledBack && a.Phase != meta.PhaseFailed {
			continue
		}
		if a.Reason == "" {
			return fmt.Errorf("I7: no code says why %s is %s: %s", a.Name, a.Phase, a.Error)
		}
		if !slices.ContainsFunc(spoken, func(why string) bool { return strings.Contains(a.Error, why) && strings.Contains(logged.String(), why) }) {
			return fmt.Errorf("I7: neither heartbeat nor log says why %s is %s: %s", a.Name, a.Phase, a.Error)
		}
	}
	return nil
}
