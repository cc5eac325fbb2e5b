package updater

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
	"github.com/ops-updater/ops-updater/updater/pool"
)

// ErrUnknownAgent is returned for the name of an agent that is neither wanted
// nor known from the journal.
var ErrUnknownAgent = errors.New("no such agent on this host")

// Engine keeps this host's agents as the server wants them: for each agent a
// keeper of its own observes, plans and acts, so that one that hangs delays no
// other. All methods may be called at any time from anywhere.
type Engine struct {
	cfg     atomic.Pointer[EngineConfig]
	access  stateAccess
	owner   job.Owner // this sidecar, towards others on the same work directories
	holds   *holdBook
	damage  damageBook
	warned  atomic.Pointer[string] // what is wrong with the host, not with one agent
	slots   *slots                 // of installs
	notify  chan struct{}
	pool    *pool.Pool
	outputs outputBook

	self     *selfCare // how the sidecar itself is updated; nil: it is not
	became   bool      // another version of the sidecar ran in this process before
	standing standBook

	asked atomic.Bool // the server has answered since the start; until then desired is an old intention

	mu      sync.Mutex
	desired plan.Desired
	keepers map[string]*keeper
	ctx     context.Context // of Run; nil before
	group   sync.WaitGroup
}

// NewEngine opens the state below cfg.VarDir: the journal, the holds and the
// last reply. State that cannot be read is set aside and said so in the log;
// the error is about what would keep every update from working.
func NewEngine(cfg EngineConfig) (*Engine, error) {
	if err := os.MkdirAll(filepath.Join(cfg.VarDir, "journal"), 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory of the journal: %w", err)
	}
	return openEngine(cfg, ownState)
}

// openEngine opens the state; to read it only, it need not be there.
func openEngine(cfg EngineConfig, access stateAccess) (*Engine, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		access:  access,
		slots:   newSlots(cfg.Concurrency),
		notify:  make(chan struct{}, 1),
		keepers: map[string]*keeper{},
	}
	e.cfg.Store(&cfg)
	e.owner = job.ThisOwner(cfg.VarDir)
	e.pool = pool.New(e.startChild)
	e.outputs.of = map[string]outputs{}
	if e.holds, err = openHolds(filepath.Join(cfg.VarDir, holdsName), access); err != nil {
		e.damage.addDamage(err)
		cfg.Log.Error().Err(err).Msg("holds are lost")
	}
	if e.desired, err = loadDesired(e.desiredFile(), access); err != nil {
		e.damage.addDamage(err)
		cfg.Log.Error().Err(err).Msg("the last reply is lost")
	}
	for _, name := range e.journalledAgents() {
		e.keeperOf(name)
	}
	e.tellWishes(cfg.wishes(e.desired))
	return e, nil
}

// Configure replaces the configuration; VarDir and Concurrency stay as they
// were. Transactions under way keep what they began with.
func (e *Engine) Configure(cfg EngineConfig) error {
	cfg, err := cfg.complete()
	if err != nil {
		return err
	}
	old := e.currentConfig()
	cfg.VarDir, cfg.Concurrency = old.VarDir, old.Concurrency
	before, _ := e.trustNow()
	e.cfg.Store(&cfg)
	now, _ := e.trustNow()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tellWishes(cfg.wishes(e.desired))
	if !now.Equal(before) {
		e.replanAll()
	}
	return nil
}

func (e *Engine) currentConfig() *EngineConfig { return e.cfg.Load() }

func (e *Engine) desiredFile() string { return filepath.Join(e.currentConfig().VarDir, desiredName) }

// The files of the last reply and of the holds.
const (
	desiredName = "desired.json"
	holdsName   = "holds.json"
)

// Run keeps the agents until ctx ends, beginning with transactions that were
// interrupted and with the last reply. It returns when every keeper has come
// to a safe stop: one that has stopped an agent to start another version does
// both before it ends.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.ctx != nil {
		e.mu.Unlock()
		return errors.New("cannot run the engine twice")
	}
	e.ctx = ctx
	e.sweepState()
	if err := e.holds.rebaseFuture(time.Now()); err != nil {
		e.currentConfig().Log.Error().Err(err).Msg("holds that begin in the future begin now, and again after a restart")
	}
	for _, k := range e.keepers {
		e.startKeeper(k)
	}
	e.mu.Unlock()
	<-ctx.Done()
	e.group.Wait()
	e.pool.Close()
	return nil
}

// startKeeper starts k; e.mu is held.
func (e *Engine) startKeeper(k *keeper) {
	if e.ctx == nil || e.ctx.Err() != nil {
		return
	}
	ctx := e.ctx
	e.group.Go(func() { k.run(ctx) })
}

// keeperOf finds or makes the keeper of name; e.mu is held or nobody else has e.
func (e *Engine) keeperOf(name string) *keeper {
	if k := e.keepers[name]; k != nil {
		return k
	}
	k := newKeeper(e, name, e.access)
	e.keepers[name] = k
	e.startKeeper(k)
	return k
}

// Apply makes d what is wanted. It is kept on disk, so that it still holds
// when the server is away, and validated agent by agent: a bad entry is
// reported as that agent's error. The error says that d could not be kept; it
// is followed all the same.
func (e *Engine) Apply(d plan.Desired) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	// Also when the reply is what was stored: until now that was an old intention, by
	// which nothing is replaced.
	if !e.asked.Swap(true) {
		defer e.replanAll()
	}
	if d.Equal(e.desired) {
		return nil
	}
	e.desired = d
	e.tellWishes(e.currentConfig().wishes(d))
	return saveJSON(e.desiredFile(), d)
}

// replanAll makes every keeper plan anew; e.mu is held.
func (e *Engine) replanAll() {
	for _, k := range e.keepers {
		k.replan()
	}
}

// tellWishes tells every keeper its wish; e.mu is held or nobody else has e.
func (e *Engine) tellWishes(wishes map[string]plan.Wish) {
	for name, w := range wishes {
		e.keeperOf(name).setWish(w)
	}
	for name, k := range e.keepers {
		if _, listed := wishes[name]; listed {
			continue
		}
		k.setWish(plan.Wish{})
		if k.isForgettable() {
			k.endKeeper()
			delete(e.keepers, name)
		}
	}
}

// HasReply reports whether this host has ever been told what is wanted.
func (e *Engine) HasReply() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.desired.Equal(plan.Desired{})
}

// Mark is what the server is to be shown of what it has said before: the mark
// of the last reply that had one, also across restarts.
func (e *Engine) Mark() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.desired.Mark
}

// Notify delivers a value, soon after, when a transaction ended or failed:
// a heartbeat should go out at once.
func (e *Engine) Notify() <-chan struct{} { return e.notify }

func (e *Engine) wakeHeartbeat() {
	select {
	case e.notify <- struct{}{}:
	default:
	}
}

// Report asks every agent for its status and returns what the heartbeat says
// about them, sorted by name. An agent that does not answer before ctx ends is
// reported as it was last seen, with the time of that; so is one that is in a
// transaction.
func (e *Engine) Report(ctx context.Context) []meta.RealAgent {
	e.waitForLooks(ctx)
	states := e.listStates((*keeper).reportedState)
	general := ""
	if w := e.warned.Load(); w != nil {
		general = *w
	}
	agents := make([]meta.RealAgent, 0, len(states))
	for _, s := range states {
		if s.Matters() {
			s.Error = plan.JoinSentences(s.Error, general)
			agents = append(agents, s.RealAgent)
		}
	}
	return agents
}

// Look makes every keeper look, for a report that is soon to come.
func (e *Engine) Look() {
	for _, k := range e.allKeepers() {
		k.lookSoon()
	}
}

// waitForLooks makes every keeper look, and waits for them.
func (e *Engine) waitForLooks(ctx context.Context) {
	if ctx.Err() != nil {
		return // nobody is waited for
	}
	var looks []<-chan struct{}
	for _, k := range e.allKeepers() {
		looks = append(looks, k.lookSoon())
	}
	for _, looked := range looks {
		select {
		case <-looked:
		case <-ctx.Done():
			return
		}
	}
}

// Warn has every agent reported with text as well: something is wrong with the
// host, about which nobody would hear otherwise. An empty text ends that.
func (e *Engine) Warn(text string) {
	e.warned.Store(&text)
	e.wakeHeartbeat()
}

// States is what is known about every agent, sorted by name, without asking
// any of them.
func (e *Engine) States() []plan.State { return e.listStates((*keeper).currentState) }

// Unheard is said when what was reported last has reached nobody: what went wrong is
// said again.
func (e *Engine) Unheard() {
	for _, k := range e.allKeepers() {
		k.heartbeatLost()
	}
}

func (e *Engine) listStates(stateOf func(*keeper) plan.State) []plan.State {
	var states []plan.State
	lost := e.holds.lossWarning()
	for _, k := range e.allKeepers() {
		s := stateOf(k)
		if s.Matters() {
			s.Error = plan.JoinSentences(s.Error, lost)
		}
		states = append(states, s)
	}
	return states
}

func (e *Engine) allKeepers() []*keeper {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*keeper, 0, len(e.keepers))
	for _, k := range e.keepers {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *keeper) int { return strings.Compare(a.name, b.name) })
	return all
}

func (e *Engine) findKeeper(name string) (*keeper, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if k := e.keepers[name]; k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownAgent, name)
}

// Settle waits until no agent has anything left to be done now: everything is
// as wanted, or must wait, or cannot be had.
func (e *Engine) Settle(ctx context.Context) error {
	for _, k := range e.allKeepers() {
		select {
		case <-k.whenSettled():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
