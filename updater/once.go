package updater

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/local"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// drawEvery is how often [Once] shows progress.
const drawEvery = 100 * time.Millisecond

// Progress is how far one agent is, for a person who watches.
type Progress struct {
	Agent       string
	Phase       meta.Phase
	Done, Total int64 // bytes; Total 0: unknown
}

// Once does what the daemon does, once and in the foreground: it asks the
// server, brings every agent to where it is wanted, reports, and returns what
// was reached. show is called now and then with the agents at work. It needs
// no daemon and refuses to run beside one ([ErrRunning]).
func Once(ctx context.Context, config config.Config, log zerolog.Logger, show func([]Progress)) ([]meta.RealAgent, error) {
	lock, err := lockVar(config.VarDir, nil)
	if err != nil {
		return nil, err
	}
	defer lock.release()
	setLevel(config)
	believed, lost := openBelief(config, ownState, log)
	engine, err := NewEngine(believed.lendKeys(NewEngineConfig(config, log)))
	if err != nil {
		return nil, err
	}
	believed.changed = engine.Replan
	if lost != nil {
		engine.damage.addDamage(lost)
		log.Error().Err(lost).Msg("what was heard of the server's keys is lost")
	}
	b, err := newBeat(config, engine, believed, engine.Notify(), log, local.NewMetrics())
	if err != nil {
		return nil, err
	}
	work, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(work) }()
	err = b.beatOnce(ctx)
	if err == nil {
		err = watchUntilSettled(ctx, engine, show)
	}
	if err == nil {
		err = b.beatOnce(ctx) // what was reached
	}
	stop()
	return realAgents(engine.States()), errors.Join(err, <-ended)
}

// watchUntilSettled waits until the engine has settled and shows what it does meanwhile.
func watchUntilSettled(ctx context.Context, e *Engine, show func([]Progress)) error {
	settled := make(chan error, 1)
	go func() { settled <- e.Settle(ctx) }()
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-settled:
			show(progressOf(e.States()))
			return err
		case <-tick.C:
			show(progressOf(e.States()))
		}
	}
}

func progressOf(states []plan.State) []Progress {
	var all []Progress
	for _, s := range states {
		all = append(all, Progress{Agent: s.Name, Phase: s.Phase, Done: s.Done, Total: s.Total})
	}
	return all
}

// PlanOffline is what would be done now, for a host where no daemon runs. It
// changes nothing.
func PlanOffline(ctx context.Context, config config.Config, log zerolog.Logger) (local.Plan, error) {
	believed, _ := openBelief(config, readState, log) // lost: check says so
	engine, err := openEngine(believed.lendKeys(NewEngineConfig(config, log)), readState)
	if err != nil {
		return local.Plan{}, err
	}
	defer engine.pool.Close()
	return planOf(ctx, engine)
}

// OrderOffline does what an operator ordered on a host where no daemon runs;
// the next daemon finds it. Only holds can be changed like this: the other
// orders need somebody who carries them out ([local.ErrNotRunning]).
func OrderOffline(config config.Config, log zerolog.Logger, o local.Order) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if o.Verb != local.VerbHold && o.Verb != local.VerbUnhold {
		return fmt.Errorf("cannot %s %s: %w", o.Verb, o.Agent, local.ErrNotRunning)
	}
	lock, err := lockVar(config.VarDir, nil)
	if err != nil {
		return err
	}
	defer lock.release()
	engine, err := NewEngine(NewEngineConfig(config, log))
	if err != nil {
		return err
	}
	return obeyOrder(engine, o)
}
