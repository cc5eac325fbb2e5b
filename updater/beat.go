package updater

import (
	"cmp"
	"context"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/jitter"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/local"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// agents is what the heartbeat needs of the engine. Neither call waits for
// work on an agent.
type agents interface {
	Report(ctx context.Context) []meta.RealAgent
	Unheard()                   // what was reported last has reached nobody
	Apply(d plan.Desired) error // an error: it could not be kept
	Mark() string               // of what was applied last
}

// looker is what can look at the agents before they are reported.
type looker interface{ Look() }

// reportPatience is how long before a heartbeat control scripts are asked how
// their agents are, but never over half an interval. The heartbeat waits for
// nobody: whoever takes longer is reported as last seen. Only the first one of
// a process, before which nothing was seen, and one that somebody asks for wait
// for as long.
const reportPatience = 5 * time.Second

// beat is the heartbeat loop.
type beat struct {
	agents  agents
	log     zerolog.Logger
	metrics *local.Metrics
	news    <-chan struct{}      // something is worth reporting at once
	reload  chan config.Config   // a new configuration
	asked   chan chan<- struct{} // somebody wants a heartbeat now, and to know when it is over
	fresh   bool                 // this host has no stored reply: nothing is known of what is wanted
	awaited bool                 // another version of the sidecar waits for the first heartbeat
	host    hostFacts
	belief  *belief

	// Owned by run.
	sent     bool // a heartbeat of this process has gone out
	config   config.Config
	client   *meta.Client
	pace     pace
	rejected []meta.Rejected // of the last reply, to be reported

	mu    sync.Mutex
	state local.Heartbeat
}

func newBeat(c config.Config, a agents, believed *belief, news <-chan struct{}, log zerolog.Logger, m *local.Metrics) (*beat, error) {
	b := &beat{agents: a, news: news, log: log, metrics: m, reload: make(chan config.Config, 1), asked: make(chan chan<- struct{}), host: readHostFacts(), belief: believed}
	b.state.Interval = c.Interval.Seconds()
	return b, b.useConfig(c)
}

// newClient makes the heartbeat client that c describes. believed is nil for one that
// acts on no reply.
func newClient(c config.Config, believed *belief) (*meta.Client, error) {
	client := meta.ClientConfig{
		Servers: c.Servers, Dialect: c.Dialect, Token: c.Token, Proxy: c.Proxy,
		CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, Insecure: c.TLS.Insecure,
		UserAgent: "ops-updater/" + buildinfo.Version(),
	}
	if believed != nil {
		client.Believe = believed.believe
	}
	return meta.NewClient(client)
}

func (b *beat) useConfig(config config.Config) error {
	client, err := newClient(config, b.belief)
	if err != nil {
		return err
	}
	b.belief.useConfig(config.Trust)
	if b.client != nil {
		b.client.Close()
	}
	b.config, b.client = config, client
	b.pace.configured = config.Interval
	return nil
}

// replaceConfig makes config the one of the next heartbeat. It does not wait for one
// that is under way. One caller at a time.
func (b *beat) replaceConfig(config config.Config) {
	select {
	case <-b.reload: // an older one that the loop has not come to
	default:
	}
	b.reload <- config
}

// State is how the heartbeat is doing.
func (b *beat) State() local.Heartbeat {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

func (b *beat) updateState(change func(*local.Heartbeat)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.state)
}

// freshStart bounds the wait before the very first heartbeat of a host, for
// which a person waits.
const freshStart = 5 * time.Second

// firstWait is a random part of the interval, so that a fleet that starts
// together does not report together, and of a few seconds on a host that has
// never been told anything.
func (b *beat) firstWait() time.Duration {
	if b.awaited {
		return 0
	}
	if b.fresh {
		return jitter.First(min(freshStart, b.pace.interval()))
	}
	return jitter.First(b.pace.interval())
}

// beatNow makes a heartbeat at once and returns what came of it.
func (b *beat) beatNow(ctx context.Context) (local.Heartbeat, error) {
	over := make(chan struct{})
	select {
	case b.asked <- over:
	case <-ctx.Done():
		return local.Heartbeat{}, ctx.Err()
	}
	select {
	case <-over:
		return b.State(), nil
	case <-ctx.Done():
		return local.Heartbeat{}, ctx.Err()
	}
}

// sendHeartbeats sends heartbeats until ctx ends.
func (b *beat) sendHeartbeats(ctx context.Context) {
	defer func() { b.client.Close() }()
	next, looked := time.Now().Add(b.firstWait()), false
	for {
		b.updateState(func(s *local.Heartbeat) { s.Next = next })
		if !looked && time.Until(next) <= b.lookAheadBy() {
			looked = true
			b.lookAhead()
		}
		timer := time.NewTimer(time.Until(next))
		if !looked {
			timer.Reset(time.Until(next) - b.lookAheadBy())
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case config := <-b.reload:
			b.takeNewConfig(config)
			next = b.pace.moveForward(time.Now(), next)
		case <-b.news:
			next = b.pace.moveForward(time.Now(), next)
		case over := <-b.asked:
			next, looked = b.sendHeartbeat(ctx, b.lookAheadBy()), false
			close(over)
		case <-timer.C:
			if looked {
				next, looked = b.sendHeartbeat(ctx, b.lookPatience()), false
			}
		}
		timer.Stop()
	}
}

// sendHeartbeat makes one heartbeat and says when the next one is due.
func (b *beat) sendHeartbeat(ctx context.Context, patience time.Duration) time.Time {
	_ = b.beatWithin(ctx, patience) // said in the log and the state
	next := time.Now().Add(b.pace.waitFrom(time.Now()))
	b.updateState(func(s *local.Heartbeat) { s.Next = next })
	return next
}

func (b *beat) takeNewConfig(config config.Config) {
	if err := b.useConfig(config); err != nil {
		b.log.Error().Err(err).Msg("the heartbeat keeps its old configuration")
		return
	}
	b.pace = pace{configured: config.Interval}
}

func (b *beat) lookAheadBy() time.Duration { return min(reportPatience, b.pace.interval()/2) }

func (b *beat) lookAhead() {
	if l, ok := b.agents.(looker); ok {
		l.Look()
	}
}

// lookPatience of a heartbeat that nobody asked for.
func (b *beat) lookPatience() time.Duration {
	if b.sent {
		return 0
	}
	return b.lookAheadBy()
}

// beatOnce makes one heartbeat after a look at the agents.
func (b *beat) beatOnce(ctx context.Context) error { return b.beatWithin(ctx, b.lookAheadBy()) }

// beatWithin makes one heartbeat, which waits for looks for no longer than
// patience, and takes the reply to the engine.
func (b *beat) beatWithin(ctx context.Context, patience time.Duration) error {
	if err := b.enrolFirst(ctx); err != nil {
		if ctx.Err() == nil {
			b.noteFailure(err)
		}
		return err
	}
	request := b.makeRequest(ctx, patience)
	b.sent = true
	b.log.Debug().Interface("request", request).Msg("heartbeat goes out")
	start := time.Now()
	reply, err := b.client.Beat(ctx, request)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && reply.Unchanged {
		if err = b.belief.unchanged(); err != nil {
			b.client.Forget() // ask for the whole of it
		}
	}
	b.metrics.Heartbeat(time.Since(start), err)
	if err != nil {
		b.agents.Unheard()
		b.noteFailure(err)
		return err
	}
	b.takeReply(reply)
	// By the next heartbeat the server or a firewall has dropped it anyway.
	if b.pace.interval() > time.Minute {
		b.client.Close()
	}
	debug.FreeOSMemory() // what a reply and its parsing took goes back at once
	return nil
}

func (b *beat) noteFailure(err error) {
	after := meta.RetryAfter(err)
	b.pace = b.pace.afterFailure(time.Now(), after)
	level := zerolog.WarnLevel
	if b.pace.failures > 3 {
		level = zerolog.DebugLevel // said often enough; status and the recovery say how long
	}
	b.log.WithLevel(level).Err(err).Int("failures", b.pace.failures).Dur("retryAfter", after).Msg("heartbeat failed")
	b.updateState(func(s *local.Heartbeat) { s.Failures, s.Error = b.pace.failures, err.Error() })
}

func (b *beat) takeReply(reply meta.Reply) {
	was := b.State()
	if debug := b.log.Debug(); debug.Enabled() {
		debug.Interface("reply", reply.Redacted()).Bool("unchanged", reply.Unchanged).Msg("heartbeat came back")
	}
	if reply.Passed != nil {
		b.log.Warn().Err(reply.Passed).Str("answered", reply.Server).Msg("a server was passed over")
	}
	if b.pace.failures > 0 || was.Server != reply.Server || was.Dialect != reply.Dialect {
		b.log.Info().Str("server", reply.Server).Str("dialect", string(reply.Dialect)).Int("failuresBefore", b.pace.failures).Msg("heartbeat answered")
	}
	if reply.Unchanged {
		b.pace = b.pace.afterReply(int(b.pace.steered / time.Second))
	} else {
		b.pace = b.pace.afterReply(reply.Interval)
		b.applyReply(reply)
	}
	b.updateState(func(s *local.Heartbeat) {
		s.Server, s.Dialect, s.LastOK = reply.Server, reply.Dialect, time.Now()
		s.Failures, s.Error, s.Interval = 0, "", b.pace.interval().Seconds()
		s.Refused = b.rejected
	})
}

func (b *beat) applyReply(reply meta.Reply) {
	if !slices.Equal(b.rejected, reply.Rejected) {
		for _, r := range reply.Rejected {
			b.log.Error().Str("agent", r.Name).Str("reason", r.Reason).Msg("an agent of the reply was refused")
		}
	}
	b.rejected = reply.Rejected
	d := desiredOf(reply, b.config.DesiredAgent)
	// A server that knows no marks, an older one of several, must not make us forget
	// what another one has said.
	d.Mark = cmp.Or(reply.SerialMark, b.agents.Mark())
	if err := b.agents.Apply(d); err != nil {
		b.log.Error().Err(err).Msg("the reply could not be kept")
		b.client.Forget() // ask for the whole of it again
	}
}

// desiredOf is the part of a reply that concerns this sidecar: all of it,
// unless the configuration names the only agent to look after.
func desiredOf(reply meta.Reply, only string) plan.Desired {
	d := plan.Desired{Dialect: reply.Dialect}
	for _, r := range reply.Rejected {
		if only == "" || r.Name == only {
			d.Refused = append(d.Refused, r)
		}
	}
	for _, a := range reply.DesiredAgents {
		if only == "" || a.Name == only {
			d.Agents = append(d.Agents, a)
		}
	}
	return d
}

// makeRequest is what the host says about itself now.
func (b *beat) makeRequest(ctx context.Context, patience time.Duration) meta.HeartbeatRequest {
	ip := b.config.IP
	if ip == "" {
		ip = localAddress(ctx, b.config.Servers)
	}
	b.updateState(func(s *local.Heartbeat) { s.IP = ip })
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return meta.HeartbeatRequest{
		Hostname: b.config.Hostname, IP: ip, RunUser: b.host.user, UpdaterVersion: buildinfo.Version(),
		RealAgents: withRejected(b.agents.Report(asking), b.rejected, time.Now()),
		Arch:       meta.Arch(), Labels: b.config.Labels,
		BootTime: b.host.bootTime, BootID: b.host.bootID, Protocol: meta.Protocol, SerialMark: b.agents.Mark(),
		Trust: b.belief.report(),
	}
}

// withRejected adds what was refused of the last reply and is not in the report yet: an
// agent that is being worked on learns of it later, when the next reply may be good again,
// and the engine knows none whose name cannot name a directory.
func withRejected(report []meta.RealAgent, rejected []meta.Rejected, now time.Time) []meta.RealAgent {
	report = slices.Clone(report)
	if report == nil {
		report = []meta.RealAgent{}
	}
	for _, r := range rejected {
		if r.Name == "" {
			continue // nobody to report it as; it is in the log
		}
		i := slices.IndexFunc(report, func(a meta.RealAgent) bool { return a.Name == r.Name })
		if i < 0 {
			report = append(report, meta.RealAgent{Name: r.Name, Status: meta.StatusUnknown, Timestamp: now.Unix(), Phase: meta.PhaseFailed})
			i = len(report) - 1
		}
		if refusal := "refused: " + r.Reason; !strings.Contains(report[i].Error, refusal) {
			report[i].Error = plan.JoinSentences(report[i].Error, refusal)
			report[i].Reason = cmp.Or(report[i].Reason, plan.CodeRefused)
		}
	}
	return report
}
