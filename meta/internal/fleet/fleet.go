package fleet

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Defaults of [Options].
const (
	DefaultInterval   = 5 * time.Minute
	DefaultCommitWait = 2 * time.Second
	DefaultAskWait    = time.Second
	DefaultFlushEvery = 10 * time.Second
	DefaultSweepEvery = 30 * time.Second
	DefaultMaxHosts   = 2_000_000
	DefaultMaxLines   = 200_000
)

// silentAfter is how many intervals without a heartbeat make a host silent.
const silentAfter = 3

// Options are a fleet's surroundings; zero values get the defaults above.
type Options struct {
	Journal    Journal
	Log        zerolog.Logger
	Interval   time.Duration // between heartbeats, when the configuration has none
	CommitWait time.Duration // how long a changed heartbeat may take, waiting for the journal
	AskWait    time.Duration // of it, how long what only the database knows is waited for
	FlushEvery time.Duration // of last-seen times
	SweepEvery time.Duration // for silent hosts
	Leads      func() bool   // whether this replica writes of silence; nil: it does
	Ahead      Ahead         // asked when a host's mark is not the present one; nil: marks mean nothing
	SeeClock   func()        // called before hosts are held to be silent by the clock; nil: it is steady
	MaxHosts   int           // hosts beyond it are refused
	MaxLines   int           // timeline lines kept while the journal fails
}

// Fleet is every host's state and what each is told.
type Fleet struct {
	opts      Options
	snapshot  atomic.Pointer[Snapshot]
	seed      maphash.Seed
	shards    [shardCount]shard
	boots     bootIndex
	grants    grantSets
	count     atomic.Int64 // of hosts
	version   atomic.Int64 // of the set of hosts; grows when one comes or goes
	commits   *committer
	startedAt time.Time
	index     index
	overview  overviewCache

	granter   Granter
	confirmer Confirmer // nil: memory is all there is
	observer  Observer
}

const shardCount = 512

// shard is a part of the hosts under one lock.
type shard struct {
	mu    sync.Mutex
	hosts map[string]*host
	early map[string]*grantSet // grants of hosts not heard of yet
	seen  []*host              // whose last-seen is to be flushed
	_     [24]byte             // keeps neighbours' locks on other cache lines
}

// New makes an empty fleet that wants nothing of anybody.
func New(opts Options) *Fleet {
	opts = opts.withDefaults()
	f := &Fleet{opts: opts, seed: maphash.MakeSeed(), startedAt: time.Now()}
	for i := range f.shards {
		f.shards[i].hosts = make(map[string]*host)
		f.shards[i].early = make(map[string]*grantSet)
	}
	f.commits = newCommitter(f)
	f.snapshot.Store(Compile(Config{}, time.Now()))
	return f
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&o.Interval, DefaultInterval)
	set(&o.CommitWait, DefaultCommitWait)
	set(&o.AskWait, DefaultAskWait)
	set(&o.FlushEvery, DefaultFlushEvery)
	set(&o.SweepEvery, DefaultSweepEvery)
	if o.MaxHosts <= 0 {
		o.MaxHosts = DefaultMaxHosts
	}
	if o.MaxLines <= 0 {
		o.MaxLines = DefaultMaxLines
	}
	return o
}

// AttachRollouts joins the rollouts to the fleet, before the first heartbeat. Either
// may be nil.
func (f *Fleet) AttachRollouts(g Granter, o Observer) { f.granter, f.observer = g, o }

// UseSnapshot makes a snapshot the one that hosts are answered from. A heartbeat that
// is being answered meanwhile may still get the one before.
func (f *Fleet) UseSnapshot(s *Snapshot) { f.snapshot.Store(s) }

// Snapshot is the one in use.
func (f *Fleet) Snapshot() *Snapshot { return f.snapshot.Load() }

// Hosts is how many are known.
func (f *Fleet) Hosts() int { return int(f.count.Load()) }

// Interval is between two heartbeats of a host that does as it is told.
func (f *Fleet) Interval() time.Duration {
	if s := f.snapshot.Load().cfg.Interval; s > 0 {
		return time.Duration(s) * time.Second
	}
	return f.opts.Interval
}

func (f *Fleet) shardOf(name string) *shard {
	return &f.shards[maphash.String(f.seed, name)%shardCount]
}

func (f *Fleet) shardOfBytes(name []byte) *shard {
	return &f.shards[maphash.Bytes(f.seed, name)%shardCount]
}

func (f *Fleet) factsOf(h *host) Facts {
	if h.facts == zeroFacts {
		return Facts{Name: h.name}
	}
	fs := h.facts.Value()
	return Facts{Name: h.name, IP: h.ipText(), Arch: fs.arch, Labels: decodeLabels(fs.labels)}
}

// answerHost returns what a host is told now. The shard is locked.
func (f *Fleet) answerHost(h *host) *Reply {
	snap := f.snapshot.Load()
	if h.reply == nil || h.reply.compiled != snap.number {
		h.reply = f.profileOf(snap, h).answerQuestion(question{host: h})
	}
	return h.reply
}

// Restore puts a stored host into memory, at start and when another replica
// changed it. What was heard here since, or at the same second, wins.
func (f *Fleet) Restore(stored api.Host) {
	sh := f.shardOf(stored.Name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h := sh.hosts[stored.Name]
	switch {
	case h == nil:
		h = f.addLocked(sh, strings.Clone(stored.Name))
	case h.seen >= toUnix(stored.LastSeen):
		return
	}
	h.restoreFrom(stored)
	f.boots.noteHost(h)
}

// MarkSeen notes that another replica heard hosts.
func (f *Fleet) MarkSeen(seen []api.HostSeen) {
	for _, s := range seen {
		sh := f.shardOf(s.Host)
		sh.mu.Lock()
		if h := sh.hosts[s.Host]; h != nil {
			h.seen = max(h.seen, toUnix(s.Seen))
		}
		sh.mu.Unlock()
	}
}

// ForgetHost drops a host from memory and reports whether it was there. Its next
// heartbeat makes it a new one.
func (f *Fleet) ForgetHost(name string) bool {
	sh := f.shardOf(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h := sh.hosts[name]
	if h == nil {
		return false
	}
	delete(sh.hosts, name)
	f.boots.dropHost(h)
	f.count.Add(-1)
	f.version.Add(1)
	return true
}

func (f *Fleet) addLocked(sh *shard, name string) *host {
	h := &host{name: name, grants: sh.early[name]}
	delete(sh.early, name)
	sh.hosts[name] = h
	f.count.Add(1)
	f.version.Add(1)
	return h
}
