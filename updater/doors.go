package updater

import (
	"context"
	"fmt"
	"os"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/local"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// status is what is known now; it asks no agent.
func (d *daemon) status(context.Context) local.Status {
	c, beat, states := d.config.Config(), d.beat.State(), d.engine.States()
	s := local.Status{
		Version: buildinfo.Version(), Hostname: c.Hostname, IP: beat.IP, RunUser: d.beat.host.user,
		Pid: os.Getpid(), Started: d.started, Config: c.Path,
		ConfigError: d.config.Problem(), Damaged: d.engine.Damage(), Heartbeat: beat, Trust: d.beat.belief.state(), Agents: realAgents(states),
	}
	if trusted, _ := d.engine.trustNow(); trusted.Verifies() {
		s.Verified = verifiedAgents(states)
	}
	s.Installed, s.Trial = standOf(c.VarDir, s.Version)
	return s
}

func realAgents(states []plan.State) []meta.RealAgent {
	agents := make([]meta.RealAgent, 0, len(states))
	for _, s := range states {
		if s.Matters() {
			agents = append(agents, s.RealAgent)
		}
	}
	return agents
}

func verifiedAgents(states []plan.State) map[string]string {
	keys := map[string]string{}
	for _, s := range states {
		if s.Verified != "" {
			keys[s.Name] = s.Verified
		}
	}
	return keys
}

func (d *daemon) planSteps(ctx context.Context) (local.Plan, error) { return planOf(ctx, d.engine) }

func planOf(ctx context.Context, e *Engine) (local.Plan, error) {
	accounts, err := e.Plan(ctx, nil)
	p := local.Plan{Steps: make([]local.Step, 0, len(accounts))}
	for _, a := range accounts {
		p.Steps = append(p.Steps, toldStep(a))
	}
	return p, err
}

// toldStep is an account of an agent as it is told on the socket.
func toldStep(a plan.Account) local.Step {
	s := a.Step
	told := local.Step{Agent: s.Agent, Act: string(s.Act), From: s.From.Version, To: s.To.Version, Reason: s.Reason, Until: s.Until, Code: s.Code}
	if w := a.Wish; w.Listed {
		told.Wanted = &local.Stand{Version: w.Agent.Version, State: w.Agent.Cmd, WorkDir: w.Place.WorkDir, RunUser: w.Place.RunUser, From: meta.RedactURL(w.Agent.Tarball)}
	}
	if a.Seen.Version != "" {
		told.There = &local.Stand{Version: a.Seen.Version, State: a.Seen.Status.String(), WorkDir: a.At.WorkDir, RunUser: a.At.RunUser, Key: a.Verified}
	}
	for _, r := range a.Refusals {
		told.Refusals = append(told.Refusals, local.Refusal(r))
	}
	return told
}

func (d *daemon) doOrder(_ context.Context, o local.Order) error {
	d.log.Info().Str("verb", string(o.Verb)).Str("agent", o.Agent).Str("by", o.By).Str("reason", o.Reason).Msg("order of an operator")
	return obeyOrder(d.engine, o)
}

// obeyOrder does what an operator ordered.
func obeyOrder(e *Engine, o local.Order) error {
	switch o.Verb {
	case local.VerbHold:
		return e.HoldUntil(o.Agent, o.Reason, o.Until)
	case local.VerbUnhold:
		return e.Unhold(o.Agent)
	case local.VerbRollback:
		return e.Rollback(o.Agent, o.Reason)
	case local.VerbClear:
		return e.Clear(o.Agent)
	}
	return fmt.Errorf("verb %q is not known", o.Verb)
}

// agentOutput is the end of what an agent's control script printed.
func (d *daemon) agentOutput(ctx context.Context, agent string) (local.Output, error) {
	text, err := d.engine.Output(ctx, agent)
	return local.Output{Text: text}, err
}

// beatNow makes a heartbeat at once, because somebody asked.
func (d *daemon) beatNow(ctx context.Context) (local.Heartbeat, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	d.log.Info().Msg("heartbeat asked for by an operator")
	return d.beat.beatNow(ctx)
}
