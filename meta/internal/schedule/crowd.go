package schedule

import (
	"encoding/binary"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/rollout"
)

// Host is a host of the scope as a forecast finds it.
type Host struct {
	rollout.Host
	HeldUntil time.Time // when what holds it ends; zero: nobody has said
	Refuses   bool      // it does not take the release, and fails
}

// crowd is hosts that stand alike.
type crowd struct {
	key       string
	number    int
	host      rollout.Host // one of them
	refuses   bool
	heldUntil time.Time
	left      int    // not granted yet
	takenBy   []bool // by stage: whether it may take them
	home      int    // the first stage whose percent takes them
	from      []time.Time
	own       *time.Time // when they were granted after their hold had ended
}

// able reports whether they have the target when they may.
func (c *crowd) able() bool {
	return !c.host.OnTarget && !c.host.NoArtifact && !c.host.Held && !c.host.Silent
}

// flight is hosts that were granted at once.
type flight struct {
	at    time.Time
	stage int
	hosts int
	fails bool
}

// stuckGrant is a grant to a host that is held since.
type stuckGrant struct {
	host  rollout.Host
	grant api.Grant
}

// Add adds a host without a grant, and returns what [Forecast.TimesOf] takes.
func (f *Forecast) Add(h Host) int {
	key, in, home := f.placesOf(h)
	c := f.byKey[string(key)]
	if c == nil {
		c = &crowd{key: string(key), number: len(f.crowds), host: h.Host, refuses: h.Refuses, takenBy: in, home: home, from: make([]time.Time, len(in))}
		if h.Held {
			c.heldUntil = h.HeldUntil
		}
		f.byKey[c.key] = c
		f.crowds = append(f.crowds, c)
	}
	c.left++
	return c.number
}

// placesOf is which stages may take a host, which is its own, and a key of all that
// tells its crowd from others.
func (f *Forecast) placesOf(h Host) (key []byte, in []bool, home int) {
	stages := f.rollout.Strategy.Stages
	share := rollout.Share(f.rollout.Salt, h.Name)
	in, home = make([]bool, len(stages)), len(stages)-1
	for k := len(stages) - 1; k >= 0; k-- {
		st := stages[k]
		in[k] = (st.Group == "" || h.InGroup != nil && h.InGroup(st.Group)) && (st.Count > 0 || share < st.Percent)
		if in[k] && st.Percent > 0 {
			home = k
		}
	}
	for _, is := range append([]bool{h.OnTarget, h.NoArtifact, h.Held, h.Silent, h.Refuses}, in...) {
		b := byte('0')
		if is {
			b = '1'
		}
		key = append(key, b)
	}
	if h.Held && !h.HeldUntil.IsZero() {
		key = binary.BigEndian.AppendUint64(key, uint64(h.HeldUntil.UnixNano()))
	}
	return key, in, home
}

// AddGranted adds a host that has a grant already.
func (f *Forecast) AddGranted(h Host, g api.Grant) {
	switch {
	case g.Outcome != "":
	case h.Held || h.NoArtifact:
		f.stuck = append(f.stuck, stuckGrant{h.Host, g})
	default:
		at := g.Granted.Add(f.takes)
		if at.Before(f.now) {
			at = f.now
		}
		f.flights = append(f.flights, flight{at: at, stage: g.Stage, hosts: 1, fails: h.Refuses})
	}
	if rate := f.rollout.Strategy.Rate; rate != nil && g.Granted.After(f.now.Add(-time.Duration(rate.Period)*time.Second)) {
		f.recent = append(f.recent, flight{at: g.Granted, hosts: 1})
	}
}

// flyOthers adds what the rollout counts as in flight of hosts that were not added: they are
// out of its scope by now.
func (f *Forecast) flyOthers() {
	for k, p := range f.rollout.Progress {
		n := p.Granted - p.Succeeded - p.Failed
		for _, g := range f.flights {
			if g.stage == k {
				n -= g.hosts
			}
		}
		for _, s := range f.stuck {
			if s.grant.Stage == k {
				n--
			}
		}
		if n > 0 {
			f.flights = append(f.flights, flight{at: f.now.Add(f.takes), stage: k, hosts: n})
		}
	}
}

func addFlight(to []flight, one flight) []flight {
	if n := len(to); n > 0 && to[n-1].at.Equal(one.at) && to[n-1].stage == one.stage && to[n-1].fails == one.fails {
		to[n-1].hosts++
		return to
	}
	return append(to, one)
}

// noteChances notes since when each crowd may be granted by which stage, whoever of
// them asks first: limits are passed over.
func (f *Forecast) noteChances() {
	free := f.rollout
	free.Strategy.MaxInFlight, free.Strategy.Rate = 0, nil
	for _, c := range f.crowds {
		if c.left == 0 || !c.able() {
			continue
		}
		if _, d := rollout.Admit(free, c.host, 0, f.now); d.Granted() && c.from[d.Grant.Stage].IsZero() {
			c.from[d.Grant.Stage] = f.now
		}
	}
}

// recentHosts is how many hosts were granted within the period of the rate.
func (f *Forecast) recentHosts() (n int) {
	rate := f.rollout.Strategy.Rate
	if rate == nil {
		return 0
	}
	after := f.now.Add(-time.Duration(rate.Period) * time.Second)
	for len(f.recent) > 0 && !f.recent[0].at.After(after) {
		f.recent = f.recent[1:]
	}
	for _, g := range f.recent {
		n += g.hosts
	}
	return n
}

// windowsOf calls at with when the windows open that keep hosts from being granted now.
func (f *Forecast) windowsOf(c *crowd, at func(time.Time)) {
	for k := range f.rollout.Stage + 1 {
		w := f.rollout.Strategy.StageWindow(k)
		if !c.takenBy[k] || rollout.Open(w, f.now) {
			continue
		}
		if opens, ok := rollout.NextOpen(w, f.now); ok {
			at(opens)
		}
	}
}
