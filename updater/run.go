package updater

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/local"
)

// gcPercent and memoryGoal keep the resident process small: it allocates so
// little that collecting more often costs nothing.
const (
	gcPercent  = 20
	memoryGoal = 64 << 20
)

// serverPatience is how long requests to the local interfaces may take to end.
const serverPatience = time.Second

// daemon is the running sidecar.
type daemon struct {
	engine  *Engine
	beat    *beat
	metrics *local.Metrics
	log     zerolog.Logger
	started time.Time
	ctx     context.Context // of Run

	config    atomic.Pointer[Config]
	reloading sync.Mutex
	badConfig atomic.Pointer[string] // why the last reload changed nothing
}

// Run is the daemon: it keeps the host's agents as the server wants them until
// ctx ends, and reads its configuration again on SIGHUP. It refuses to run
// twice with one var directory ([ErrRunning]).
func Run(ctx context.Context, config Config) error {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryGoal)
	lock, err := lockVar(config.VarDir)
	if err != nil {
		return err
	}
	defer lock.release()
	log, closer := openLog(config)
	defer func() { _ = closer.Close() }()
	for _, err := range lock.aside {
		log.Error().Err(err).Msg("what was in the way of our own files was set aside")
	}
	pidFile := filepath.Join(config.VarDir, pidName)
	if err := atomicfile.Write(pidFile, fmt.Appendln(nil, os.Getpid()), 0o644); err != nil {
		return err
	}
	defer func() { _ = os.Remove(pidFile) }()
	if err := catchCrashes(config.VarDir, log); err != nil {
		log.Warn().Err(err).Msg("a crash of this run will not be found in the log of the next")
	}
	err = run(ctx, config, log, lock.aside)
	if err != nil {
		log.Error().Err(err).Msg("ops-updater ends")
	}
	return err
}

func run(ctx context.Context, config Config, log zerolog.Logger, aside []error) error {
	metrics := local.NewMetrics()
	engine, err := NewEngine(config.counted(log, metrics))
	if err != nil {
		return err
	}
	for _, err := range aside {
		engine.damage.add(err)
	}
	b, err := newBeat(config, engine, engine.Notify(), log, metrics)
	if err != nil {
		return err
	}
	b.fresh = !engine.HasReply()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &daemon{engine: engine, beat: b, metrics: metrics, log: log, started: time.Now(), ctx: ctx}
	d.config.Store(&config)
	servers, err := d.listen()
	if err != nil {
		return err
	}
	d.hello()
	var group sync.WaitGroup
	group.Go(func() { d.reloadOnHangup(ctx) })
	group.Go(func() { b.run(ctx) })
	for _, s := range servers {
		group.Go(func() { s.serve(ctx, log) })
	}
	err = engine.Run(ctx)
	cancel()
	group.Wait()
	log.Info().Msg("ops-updater stopped")
	return err
}

func (d *daemon) hello() {
	c := d.config.Load()
	d.log.Info().Str("version", buildinfo.Version()).Int("pid", os.Getpid()).Str("config", c.Path).
		Str("hostname", c.Hostname).Strs("servers", c.Servers).Stringer("interval", c.Interval).Msg("ops-updater started")
	for _, w := range c.warnings() {
		d.log.Warn().Msg(w)
	}
}

// route is how children reach servers. They may run as a user who cannot read
// ca_file, so they are given its content; one that cannot be read has been
// refused with the heartbeats before.
func (c Config) route() install.Route {
	r := install.Route{Proxy: c.Proxy, Insecure: c.TLS.Insecure}
	if c.TLS.CAFile != "" {
		pem, _ := plainfile.ReadLinked(c.TLS.CAFile, meta.MaxCertificates)
		r.CA = string(pem)
	}
	return r
}

// engine is the part of the configuration that the engine needs.
func (c Config) engine(log zerolog.Logger) EngineConfig {
	e := EngineConfig{
		VarDir: c.VarDir, DefaultWorkDir: c.WorkDir, CreateUsers: c.CreateUsers,
		Concurrency: c.Concurrency, Probation: c.Probation, Keep: c.Keep, Route: c.route(),
		StatusTimeout: c.StatusTimeout, StartTimeout: c.StartTimeout, StopTimeout: c.StopTimeout,
		Log: log,
	}
	e.Limits.MaxDownload, e.Limits.MaxUnpacked, e.Limits.MaxFiles = c.MaxDownloadSize, c.MaxUnpackedSize, c.MaxFiles
	e.Limits.Reserve, e.Limits.MaxRate = orNone(c.Reserve), c.MaxDownloadRate
	e.Limits.StallTimeout, e.Limits.Retries = c.StallTimeout, orNone(c.Retries)
	for k, v := range c.Env {
		e.Env = append(e.Env, k+"="+v)
	}
	slices.Sort(e.Env)
	return e
}

// orNone says to [install.Limits], for which 0 is its default, that 0 is meant.
func orNone[T int | int64](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// counted is the engine's configuration with its transactions in the metrics.
func (c Config) counted(log zerolog.Logger, m *local.Metrics) EngineConfig {
	e := c.engine(log)
	e.Ended = func(act Act, phase meta.Phase) { m.Transaction(string(act), phase) }
	return e
}

func (d *daemon) reloadOnHangup(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			_, _ = d.reload(ctx) // said in the log
		}
	}
}

// reload reads the configuration again. When it is bad the old one stays.
func (d *daemon) reload(context.Context) (local.Reloaded, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	old := d.config.Load()
	next, err := LoadConfig(old.Path)
	if err == nil {
		_, err = next.client()
	}
	if err == nil {
		err = d.engine.Configure(next.counted(d.log, d.metrics))
	}
	if err != nil {
		d.log.Error().Err(err).Msg("the configuration was not reloaded, the old one stays")
		d.broken(err.Error())
		return local.Reloaded{}, err
	}
	restart := old.changesNeedingRestart(next)
	next.VarDir = old.VarDir
	d.config.Store(&next)
	d.broken("")
	setLevel(next)
	d.beat.replace(next)
	d.log.Info().Strs("needRestart", restart).Msg("configuration reloaded")
	for _, w := range next.warnings() {
		d.log.Warn().Msg(w)
	}
	shown, err := next.redacted()
	return local.Reloaded{Config: shown, Restart: restart}, err
}

// broken keeps for status and heartbeat why the configuration on disk is not
// the one that counts; empty when it is.
func (d *daemon) broken(why string) {
	if old := d.badConfig.Swap(&why); old == nil && why == "" || old != nil && *old == why {
		return
	}
	if why == "" {
		d.engine.Warn("")
		return
	}
	d.engine.Warn("the configuration was not reloaded, the old one stays: " + why)
}

// redacted is cfg.json as it is on disk, without its secrets.
func (c Config) redacted() (json.RawMessage, error) {
	data, err := readConfigFile(c.Path)
	if err != nil {
		return nil, err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, err
	}
	for _, secret := range secretKeys {
		if _, set := keys[secret]; set {
			keys[secret] = json.RawMessage(`"(hidden)"`)
		}
	}
	return json.Marshal(keys)
}

// server is one of the local interfaces.
type server struct {
	listener net.Listener
	http     *http.Server
}

func (d *daemon) listen() ([]server, error) {
	doors := local.Daemon{Status: d.status, Plan: d.plan, Do: d.do, Reload: d.reload, Output: d.output, Beat: d.beatNow, Settle: d.engine.Settle, Metrics: d.metrics}
	socket, err := local.Listen(d.ctx, d.config.Load().VarDir)
	if err != nil {
		return nil, err
	}
	servers := []server{newServer(socket, local.Socket(doors))}
	if c := d.config.Load(); c.HTTP.Enabled {
		l, err := (&net.ListenConfig{}).Listen(d.ctx, "tcp", c.HTTP.Listen)
		if err != nil {
			_ = socket.Close()
			return nil, fmt.Errorf("cannot listen on http.listen: %w", err)
		}
		handler := local.HTTP(doors, local.HTTPConfig{Version: buildinfo.Version(), WorkDir: c.WorkDir, Pprof: c.HTTP.Pprof})
		servers = append(servers, newServer(l, handler))
		d.log.Info().Stringer("listen", l.Addr()).Msg("local HTTP interface")
	}
	return servers, nil
}

func newServer(l net.Listener, h http.Handler) server {
	return server{l, &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10, ErrorLog: nil,
	}}
}

// serve answers until ctx ends; requests under way get a moment.
func (s server) serve(ctx context.Context, log zerolog.Logger) {
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.listener) }()
	select {
	case err := <-ended:
		log.Error().Err(err).Stringer("listen", s.listener.Addr()).Msg("a local interface ended")
		return
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), serverPatience)
	defer cancel()
	if s.http.Shutdown(patience) != nil {
		_ = s.http.Close()
	}
	<-ended
}
