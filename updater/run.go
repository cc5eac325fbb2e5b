package updater

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/internal/servicemanager"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/local"
	"github.com/ops-updater/ops-updater/updater/takeover"
)

// gcPercent and memoryGoal keep the resident process small: it allocates so
// little that collecting more often costs nothing.
const (
	gcPercent  = 20
	memoryGoal = 64 << 20
)

// serverPatience is how long requests to the local interfaces may take to end.
const serverPatience = time.Second

// lateEvery is how often what could not be written at the start is tried again.
const lateEvery = 10 * time.Second

// daemon is the running sidecar.
type daemon struct {
	engine  *Engine
	beat    *beat
	metrics *local.Metrics
	log     zerolog.Logger
	started time.Time
	ctx     context.Context // of Run

	config *config.Current
	late   []func() error // what could not be written yet
	hand   *handover
	end    context.CancelFunc // of ctx
}

// later: a disk that is full or read-only keeps nobody from heartbeats, nor
// agents from being started again. What could not be written is tried again.
func (d *daemon) later(err error, do func() error) {
	d.engine.damage.addDamage(err)
	d.log.Error().Err(err).Msg("until it can be written, ./control and commands do not find this sidecar")
	d.late = append(d.late, do)
}

func untilDone(ctx context.Context, do func() error) {
	tick := time.NewTicker(lateEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if do() == nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (d *daemon) writePid() error {
	return atomicfile.Write(filepath.Join(d.config.Config().VarDir, pidName), fmt.Appendln(nil, os.Getpid()), 0o644)
}

// Run is the daemon: it keeps the host's agents as the server wants them until
// ctx ends, and reads its configuration again on SIGHUP. It refuses to run
// twice with one var directory ([ErrRunning]).
func Run(ctx context.Context, c config.Config) error {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryGoal)
	takeover.KeepName()
	had := takeover.Took()
	lock, err := lockVar(c.VarDir, had.Lock)
	if err != nil {
		return err
	}
	defer lock.release()
	if had.Became() {
		faultpoint.Hit("takeover.begun")
	}
	log, closer := openLog(c)
	defer func() { _ = closer.Close() }()
	for _, err := range lock.aside {
		log.Error().Err(err).Msg("what was in the way of our own files was set aside")
	}
	for _, f := range checkOwn(c) {
		log.Warn().Str("mend", f.Mend).Msg(f.Detail)
	}
	defer func() { _ = os.Remove(filepath.Join(c.VarDir, pidName)) }()
	if err := catchCrashes(c.VarDir, log); err != nil {
		log.Warn().Err(err).Msg("a crash of this run will not be found in the log of the next")
	}
	settleState(c.VarDir, log)
	hand := &handover{varDir: c.VarDir, log: log, handed: takeover.Handed{Lock: lock.file}}
	err = runDaemon(ctx, c, had, hand, lock.aside)
	if err == nil {
		err = hand.goOn(ctx)
	}
	if err != nil {
		log.Error().Err(err).Msg("ops-updater ends")
	}
	return err
}

func runDaemon(ctx context.Context, c config.Config, had takeover.Handed, hand *handover, aside []error) error {
	log := hand.log
	metrics := local.NewMetrics()
	believed, lost := openBelief(c, ownState, log)
	engine, err := NewEngine(believed.lendKeys(countedEngineConfig(c, log, metrics)))
	if err != nil {
		return err
	}
	believed.changed = engine.Replan
	for _, err := range aside {
		engine.damage.addDamage(err)
	}
	if lost != nil {
		engine.damage.addDamage(lost)
		log.Error().Err(lost).Msg("what was heard of the server's keys is lost")
	}
	b, err := newBeat(c, engine, believed, engine.Notify(), log, metrics)
	if err != nil {
		return err
	}
	b.fresh, b.awaited = !engine.HasReply(), had.Became()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &daemon{engine: engine, beat: b, metrics: metrics, log: log, started: time.Now(), ctx: ctx, hand: hand, end: cancel}
	engine.became = had.Became()
	engine.self = &selfCare{config: c.Path, started: d.started, end: d.handOver}
	d.config = config.NewCurrent(c, d.warnOfConfig)
	// A full disk keeps ./control from finding us, and must not keep agents from being
	// looked after.
	if err := d.writePid(); err != nil {
		d.later(err, d.writePid)
	}
	servers, err := d.openInterfaces(had)
	if err != nil {
		return err
	}
	d.logStart()
	servicemanager.Ready()
	// A stop, too, is a time in which keepers may get stuck: watched to the very end.
	watched, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	defer unwatch()
	go servicemanager.KeepAlive(watched, func() { d.engine.States() })
	var group sync.WaitGroup
	group.Go(func() { config.OnHangup(ctx, func() { _, _ = d.reloadConfig(ctx) }) }) // said in the log
	group.Go(func() { b.sendHeartbeats(ctx) })
	for _, s := range servers {
		group.Go(func() { s.serveUntil(ctx, log) })
	}
	for _, do := range d.late {
		group.Go(func() { untilDone(ctx, do) })
	}
	err = engine.Run(ctx)
	cancel()
	group.Wait()
	log.Info().Msg("ops-updater stopped")
	return err
}

func (d *daemon) logStart() {
	c := d.config.Config()
	d.log.Info().Str("version", buildinfo.Version()).Int("pid", os.Getpid()).Str("config", c.Path).
		Str("hostname", c.Hostname).Strs("servers", c.Servers).Stringer("interval", c.Interval).Msg("ops-updater started")
	for _, w := range c.Warnings() {
		d.log.Warn().Msg(w)
	}
}

// reloadConfig reads the configuration again. When it is bad the old one stays.
func (d *daemon) reloadConfig(context.Context) (local.Reloaded, error) {
	next, restart, err := d.config.Reload(d.useConfig)
	if err != nil {
		d.log.Error().Err(err).Msg("the configuration was not reloaded, the old one stays")
		return local.Reloaded{}, err
	}
	d.log.Info().Strs("needRestart", restart).Msg("configuration reloaded")
	for _, w := range next.Warnings() {
		d.log.Warn().Msg(w)
	}
	shown, err := next.Redacted()
	return local.Reloaded{Config: shown, Restart: restart}, err
}

func (d *daemon) useConfig(next config.Config) error {
	// Made to see whether it can be: the heartbeat takes the configuration later, when
	// nobody is there any more to be told that it is bad.
	client, err := newClient(next, d.beat.belief)
	if err != nil {
		return err
	}
	client.Close()
	if err := d.engine.Configure(d.beat.belief.lendKeys(countedEngineConfig(next, d.log, d.metrics))); err != nil {
		return err
	}
	d.beat.belief.useConfig(next.Trust)
	setLevel(next)
	d.beat.replaceConfig(next)
	return nil
}

// warnOfConfig has the heartbeat say why the configuration on disk is not the
// one that counts; empty when it is.
func (d *daemon) warnOfConfig(problem string) {
	if problem != "" {
		problem = "the configuration was not reloaded, the old one stays: " + problem
	}
	d.engine.Warn(problem)
}

// handOver ends the daemon, for its process to go on as what t says.
func (d *daemon) handOver(t *takeover.Trial) {
	d.hand.next = t
	d.end()
}

// server is one of the local interfaces.
type server struct {
	listener net.Listener
	http     *http.Server
	staysOn  func() bool // whether its socket is handed over; nil: never
}

func (d *daemon) openInterfaces(had takeover.Handed) ([]server, error) {
	doors := local.Daemon{Status: d.status, Plan: d.planSteps, Do: d.doOrder, Reload: d.reloadConfig, Output: d.agentOutput, Beat: d.beatNow, Settle: d.engine.Settle, Metrics: d.metrics}
	var servers []server
	open := func() (server, error) {
		l, err := d.listenLocally(had.Socket)
		d.hand.handed.Socket = fileOf(l)
		s := newServer(l, local.Socket(doors))
		s.staysOn = d.hand.staysOn
		return s, err
	}
	switch socket, err := open(); {
	case err == nil:
		servers = append(servers, socket)
	case cannotWrite(err):
		d.later(err, func() error {
			socket, err := open()
			if err == nil {
				socket.serveUntil(d.ctx, d.log)
			}
			return err
		})
	default:
		return nil, err
	}
	if c := d.config.Config(); c.HTTP.Enabled {
		l, err := listenAgain(d.ctx, c.HTTP.Listen, had)
		if err != nil {
			for _, s := range servers {
				_ = s.listener.Close()
			}
			return nil, fmt.Errorf("cannot listen on http.listen: %w", err)
		}
		d.hand.handed.HTTP, d.hand.handed.Listen = fileOf(l), c.HTTP.Listen
		handler := local.HTTP(doors, local.HTTPConfig{Version: buildinfo.Version(), WorkDir: c.WorkDir, Pprof: c.HTTP.Pprof})
		servers = append(servers, newServer(l, handler))
		d.log.Info().Stringer("listen", l.Addr()).Msg("local HTTP interface")
	}
	return servers, nil
}

func (d *daemon) listenLocally(had *os.File) (net.Listener, error) {
	dir := d.config.Config().VarDir
	if had != nil {
		if l, err := local.Adopt(had, dir); err == nil {
			return l, nil
		}
	}
	return local.Listen(d.ctx, dir)
}

// listenAgain goes on with the listener that another version had at this address.
func listenAgain(ctx context.Context, address string, had takeover.Handed) (net.Listener, error) {
	if had.HTTP != nil && had.Listen == address {
		if l, err := takeover.Listener(had.HTTP); err == nil {
			return l, nil
		}
	} else if had.HTTP != nil {
		_ = had.HTTP.Close()
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
}

// fileOf is a second descriptor of the listener, which outlives it.
func fileOf(l net.Listener) *os.File {
	if f, ok := l.(interface{ File() (*os.File, error) }); ok {
		if file, err := f.File(); err == nil {
			return file
		}
	}
	return nil
}

func newServer(l net.Listener, h http.Handler) server {
	return server{listener: l, http: &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10, ErrorLog: nil,
	}}
}

// serveUntil answers until ctx ends; requests under way get a moment.
func (s server) serveUntil(ctx context.Context, log zerolog.Logger) {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.listener) }()
	select {
	case err := <-ended:
		log.Error().Err(err).Stringer("listen", s.listener.Addr()).Msg("a local interface ended")
		return
	case <-ctx.Done():
	}
	if l, ok := s.listener.(interface{ Keep() }); ok && s.staysOn != nil && s.staysOn() {
		l.Keep()
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), serverPatience)
	defer cancel()
	if s.http.Shutdown(patience) != nil {
		_ = s.http.Close()
	}
	<-ended
}
