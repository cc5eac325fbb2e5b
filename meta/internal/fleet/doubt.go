package fleet

import (
	"cmp"
	"context"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Memory is not evidence: this server may be behind the database, for a moment
// or for as long as it is cut off, and the database behind what was said. A
// host shows it by the mark of a later answer, which tells of whatever an
// operator wrote, or by a claim that the snapshot does not explain, since grants
// have no mark. So the database is looked at before the host is told otherwise;
// where it does not answer in time, the host is in doubt and told to stay as it
// is. Which hosts those are is found when a report changes, never on a steady
// heartbeat.

// Ahead brings the server up to date when a host shows by a mark that it was
// told something of a later moment than the snapshot's. doubt says that
// that could not be done: nobody knows then what the host was told. said is the
// serial of the mark, or 0 when it is none.
type Ahead func(ctx context.Context, mark string) (said int64, doubt bool)

// markAhead reports whether a report's host is in doubt by its mark.
func (f *Fleet) markAhead(ctx context.Context, r Report) (said int64, doubt bool) {
	mark := r.Request.SerialMark
	if mark == "" || f.opts.Ahead == nil || mark == f.snapshot.Load().cfg.SerialMark {
		return 0, false
	}
	return f.opts.Ahead(ctx, mark)
}

// Claim is what a host says of an agent that this server would tell otherwise.
type Claim struct {
	Agent   string
	Version string // that it has, or works towards
	Rollout string // that it says it was granted; empty: it does not say
}

// Confirmer brings what this server knows up to date with the database.
type Confirmer interface {
	// Confirm returns nil when the snapshot and the host's grants are no older
	// than the claims, and an error when that could not be found out in time.
	Confirm(ctx context.Context, host string, claims []Claim) error
}

// ConfirmWith has hosts' claims confirmed, before the first heartbeat. Without
// it, memory is all there is: no other server shares the database.
func (f *Fleet) ConfirmWith(c Confirmer) { f.confirmer = c }

// decideReply returns what a host is told in the end: its claims are confirmed, and
// the rollouts that it waits for are asked, all within AskWait. stalled means
// that the database did not answer.
func (f *Fleet) decideReply(ctx context.Context, h *host, d draft) (reply *Reply, stalled bool) {
	reply = d.reply
	if !d.unsure && (len(reply.waits) == 0 || f.granter == nil) {
		return reply, false
	}
	ctx, cancel := context.WithTimeout(ctx, f.opts.AskWait)
	defer cancel()
	sure := true
	if d.unsure {
		reply, sure = f.confirmClaims(ctx, h)
	}
	if sure && len(reply.waits) > 0 && f.granter != nil {
		reply = f.askForGrants(ctx, h, reply)
	}
	return reply, !sure || ctx.Err() != nil
}

// draft is an answer before the database had its say.
type draft struct {
	reply  *Reply
	unsure bool
}

// draftReply answers a host from memory. The shard is locked.
func (f *Fleet) draftReply(h *host) draft { return draft{f.answerHost(h), h.has(isUnsure)} }

// confirmClaims looks whether a host in doubt was told what it says by another
// server, and returns its answer: as it is when that could not be found out.
func (f *Fleet) confirmClaims(ctx context.Context, h *host) (reply *Reply, sure bool) {
	sh := f.shardOf(h.name)
	sh.mu.Lock()
	claims := f.snapshot.Load().unexplainedClaims(h, f.answerHost(h))
	sh.mu.Unlock()
	var err error
	if len(claims) > 0 {
		err = f.confirmer.Confirm(ctx, h.name, claims)
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h.set(isUnsure, err != nil)
	h.set(isDoubted, err != nil)
	if err == nil {
		return f.answerHost(h), true
	}
	f.opts.Log.Debug().Err(err).Str("host", h.name).Msg("cannot look whether another server told the host what it reports; it is told to stay as it is")
	return f.answerDoubt(h), false
}

// answerDoubt tells a host to stay as it is. The shard is locked.
func (f *Fleet) answerDoubt(h *host) *Reply {
	return f.profileOf(f.snapshot.Load(), h).answerStill(question{host: h, doubt: true})
}

// unexplainedClaims is what a host says that the snapshot and the answer do not explain.
func (s *Snapshot) unexplainedClaims(h *host, r *Reply) (claims []Claim) {
	for _, e := range h.agents {
		a := e.state.Value()
		if s.explainsReport(&a, r.wantedOf(a.Name)) {
			continue
		}
		claims = append(claims, Claim{Agent: a.Name, Version: cmp.Or(a.DesiredVersion, a.Version), Rollout: a.Rollout})
	}
	return claims
}

func (s *Snapshot) explainsReport(a *agentState, w *Wanted) bool {
	if a.Rollout != "" && !s.rollouts[a.Rollout] {
		return false
	}
	if w == nil || w.Held {
		return true
	}
	switch w.Cmd {
	case meta.CmdStart:
		towards := cmp.Or(a.DesiredVersion, a.Version)
		return towards == "" || towards == w.Version
	case meta.CmdStop:
		return a.statusWord() != meta.StatusStarted
	}
	return true
}

// saysElse reports whether a host says something else than before of what it
// was told.
func saysElse(from, to *agentState) bool {
	return from.Version != to.Version || from.DesiredVersion != to.DesiredVersion || from.Rollout != to.Rollout || from.statusWord() != to.statusWord()
}

func rolloutIDs(rollouts []api.Rollout) map[string]bool {
	ids := make(map[string]bool, len(rollouts))
	for i := range rollouts {
		ids[rollouts[i].ID] = true
	}
	return ids
}
