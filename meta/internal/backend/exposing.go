package backend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// writeScopes is [core.write] for what changes who is in a scope, or which of
// several counts: no host may come by a release that proved bad that way, since
// nobody has named it.
func (c *core) writeScopes(ctx context.Context, by api.Actor, do func(*store.Tx) error) error {
	return c.write(ctx, by, func(tx *store.Tx) error {
		before, err := tx.Wanted(ctx)
		if err != nil {
			return err
		}
		if err := do(tx); err != nil {
			return err
		}
		return c.refuseExposing(ctx, tx, before)
	})
}

// agentVersion is one version of an agent.
type agentVersion struct{ agent, version string }

// refuseExposing refuses what a transaction has done when hosts would be told
// a release that proved bad, which they were not told before and do not run.
// While the fleet stands still nobody is told anything: anyone who ends that sees
// what is bad.
func (c *core) refuseExposing(ctx context.Context, tx *store.Tx, before api.Wanted) error {
	after, err := tx.Wanted(ctx)
	if err != nil || after.Standstill != nil {
		return err
	}
	bad, err := assignedBad(ctx, tx, after)
	if err != nil || len(bad) == 0 {
		return err
	}
	was := map[[2]string]bool{} // by host and agent
	c.eachTold(before, func(t fleet.Told) {
		if _, is := bad[agentVersion{t.Wanted.Agent, t.Version}]; is && t.Cmd == meta.CmdStart {
			was[[2]string{t.Host, t.Wanted.Agent}] = true
		}
	})
	exposed := map[agentVersion][]string{}
	c.eachTold(after, func(t fleet.Told) {
		r := agentVersion{t.Wanted.Agent, t.Version}
		if _, is := bad[r]; is && t.Cmd == meta.CmdStart && t.Agent.Version != t.Version && !was[[2]string{t.Host, r.agent}] {
			exposed[r] = append(exposed[r], t.Host)
		}
	})
	for r, hosts := range exposed {
		return exposing(r, hosts, bad[r])
	}
	return nil
}

func (c *core) eachTold(w api.Wanted, do func(fleet.Told)) {
	c.fleet.EachTold(fleet.Compile(fleet.Config{Wanted: w}, time.Now()), do)
}

// assignedBad is what is assigned anywhere and proved bad, with the rollout
// that showed it.
func assignedBad(ctx context.Context, tx *store.Tx, w api.Wanted) (map[agentVersion]api.Rollout, error) {
	looked, bad := map[agentVersion]bool{}, map[agentVersion]api.Rollout{}
	for _, a := range w.Assignments {
		r := agentVersion{a.Agent, a.Version}
		if looked[r] || a.Version == "" || a.Cmd == meta.CmdStop {
			continue
		}
		looked[r] = true
		list, err := tx.RolloutsOf(ctx, a.Agent, a.Version)
		if err != nil {
			return nil, err
		}
		if of, is := rollout.TakenBack(list); is {
			bad[r] = of
		}
	}
	return bad, nil
}

func exposing(r agentVersion, hosts []string, of api.Rollout) error {
	slices.Sort(hosts)
	sample := strings.Join(hosts[:min(len(hosts), 3)], ", ")
	if len(hosts) > 3 {
		sample += ", …"
	}
	count := fmt.Sprintf("%d hosts (%s)", len(hosts), sample)
	if len(hosts) == 1 {
		count = "host " + sample
	}
	return &api.Error{
		Kind: api.KindConflict, Message: fmt.Sprintf("%s would be told %s %s with that, and %s", count, r.agent, r.version, takenBackText(of)),
		Hint: fmt.Sprintf("assign another version to the scope first, or try it again on purpose: ops-meta deploy %s %s", r.agent, r.version),
	}
}
