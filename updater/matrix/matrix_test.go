package matrix

import (
	"cmp"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/hostlab"
	"github.com/ops-updater/ops-updater/meta"
)

var (
	faultyBinary = sync.OnceValues(buildFaulty)
	builtTo      string
)

// buildFaulty builds the real program with its fault points, where every user may run it.
func buildFaulty() (*hostlab.Sidecar, error) {
	dir, err := os.MkdirTemp("/opt", "ops-updater-faults-")
	if err != nil {
		return nil, err
	}
	builtTo = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	return hostlab.BuildSidecar("../..", dir, self0)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if builtTo != "" {
		_ = os.RemoveAll(builtTo)
	}
	os.Exit(code)
}

func program(t *testing.T) *hostlab.Sidecar {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil // the lab says why it is not to be had
	}
	built, err := faultyBinary()
	must(t, err)
	return built
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Which cells are tried, from the environment: all of them with OPS_UPDATER_MATRIX=all,
// otherwise a share. OPS_UPDATER_MATRIX_SEED varies damage and lies, and
// OPS_UPDATER_MATRIX_RESULTS is a file of results: what passed in it is not tried again.
// No cell is begun OPS_UPDATER_MATRIX_SECONDS after the start.
var (
	everything = os.Getenv("OPS_UPDATER_MATRIX") == "all"
	seed, _    = strconv.ParseUint(os.Getenv("OPS_UPDATER_MATRIX_SEED"), 10, 64)
)

// atOnce is how many hosts there are at once: they wait most of the time.
const atOnce = 4

// share is every how many-th cell is tried without being asked for all of them.
const share = 81

// TestMatrix tries the cells of the table that is asked for.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: hosts that are struck")
	}
	built := program(t)
	results := openResults(t)
	start, limit := time.Now(), 24*time.Hour
	if s, err := strconv.Atoi(os.Getenv("OPS_UPDATER_MATRIX_SECONDS")); err == nil {
		limit = time.Duration(s) * time.Second
	}
	var group sync.WaitGroup
	defer group.Wait()
	// Not t.Parallel: that many at once are as many as there are processors, and hosts
	// wait most of the time.
	slots := make(chan struct{}, atOnce)
	for _, one := range chosenCells() {
		if results.has(one.name()) || time.Since(start) > limit {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			t.Run(one.name(), func(t *testing.T) {
				began := time.Now()
				defer func() { results.add(t, one.name(), time.Since(began)) }()
				tryCell(t, built, one)
			})
		})
	}
}

// place is a cell of the table.
type place struct {
	step  step
	point string
	fault fault
}

func (p place) name() string { return p.step.name + "/" + p.point + "/" + p.fault.name }

// chosenCells are all cells in an order of the seed's, or a share in that of the table.
func chosenCells() (chosen []place) {
	n := 0
	for _, s := range steps {
		for _, point := range s.phases {
			for _, f := range faults {
				if f.why != nil && f.why(s, point) != "" {
					continue
				}
				one := place{s, point, f}
				if n++; everything || n%share == 0 {
					chosen = append(chosen, one)
				}
			}
		}
	}
	if everything {
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	}
	return chosen
}

// cell is one host that is struck by one fault in one phase of one step.
type cell struct {
	t         *testing.T
	l         *hostlab.Lab
	sidecar   *hostlab.Sidecar
	rand      *rand.Rand
	step      step
	strike    fault
	point     string
	fault     *hostlab.Fault
	bystander meta.DesiredAgent
	wanted    meta.DesiredAgent
	lifts     []func()
	outside   []string // what lies on the host beside what the sidecar may write
	restarts  int      // of the sidecar because it ended by itself
}

func tryCell(t *testing.T, built *hostlab.Sidecar, where place) {
	s, point, f := where.step, where.point, where.fault
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Name()))
	c := &cell{t: t, l: hostlab.New(t, hostlab.Spec{Sidecar: built, Disk: s.disk}), sidecar: built, step: s, strike: f, point: point, rand: rand.New(rand.NewPCG(seed, h.Sum64()))}
	c.bystander = c.l.Publish("bystander", "1.0.0", hostlab.Habits{})
	c.l.Server.Want(c.bystander)
	c.l.Start(nil)
	if s.base != nil {
		s.base(c)
		c.settle(end{version: c.wanted.Version, phases: []meta.Phase{meta.PhaseIdle}})
	}
	c.l.Await("the bystander runs", func() bool {
		a := c.l.Server.Last("bystander")
		return a.Phase == meta.PhaseIdle && a.Status == meta.StatusStarted
	})
	c.l.End()
	c.outside = c.filesOutside()

	s.change(c)
	point, action := c.point, "wait"
	if f.action != "" {
		point, action = strings.TrimSuffix(point, ".before"), f.action
	}
	c.fault = c.l.FaultAt(point, action)
	c.l.Start(c.fault)
	if s.order != nil {
		s.order(c)
	}
	c.l.Await("the point is reached", c.fault.Happened)
	c.judgeVersions("when struck")
	c.endure()
	e := s.end(c)
	c.settle(e)
	c.judge(e)
}

// endure has the fault strike, holds it until it is noticed, and lifts it.
func (c *cell) endure() {
	beats := c.l.Server.Beats()
	c.strike.strike(c)
	if c.strike.name != "corrupt-version" {
		c.judgeVersions("after the fault")
	}
	c.fault.Go()
	if c.strike.ends {
		c.l.Start(nil)
	}
	if c.strike.lift == nil {
		return
	}
	c.l.AwaitFor(hold, func() bool {
		c.keepUp()
		return !c.strike.silent && c.l.Server.Beats() > beats+1 && c.l.Server.Last(c.agent()).Reason != ""
	})
	silent := c.strike.silent || c.strike.locks && c.isSelf()
	if !silent && c.restarts == 0 && !c.l.AwaitFor(3*time.Second, func() bool { return c.l.Server.Beats() > beats }) {
		c.t.Errorf("I6: no heartbeat came while the fault lasted")
	}
	c.strike.lift(c)
	c.keepUp()
}

// keepUp starts a sidecar that has ended by itself, as its service manager would.
func (c *cell) keepUp() {
	if c.l.Running() {
		return
	}
	c.restarts++
	if c.restarts > 20 {
		c.t.Fatal("I6: the sidecar does not stay up")
	}
	time.Sleep(100 * time.Millisecond) // RestartSec
	c.l.Start(nil)
}

// settle waits until the host has come to rest where it should. A person says clear
// meanwhile, once the fault is over: back-offs last minutes.
func (c *cell) settle(e end) {
	c.t.Helper()
	last := time.Now()
	ok := func() bool {
		c.keepUp()
		a := c.l.Server.Last(c.agent())
		status := meta.StatusStarted
		if e.stopped {
			status = meta.StatusStopped
		}
		if a.Version == e.version && a.Status == status && slices.Contains(e.phases, a.Phase) && c.whyNotAt(e, a) == "" {
			return true
		}
		if time.Since(last) > time.Second && !c.step.fails {
			last = time.Now()
			_, _ = c.l.Command("clear", c.agent())
		}
		return false
	}
	if !c.l.AwaitFor(hostlab.Patience, ok) {
		c.t.Fatalf("I2: never at %+v: last heard %+v, running %+v", e, c.l.Server.Last(c.agent()), c.l.Instances(c.agent()))
	}
}

// agent is the name of the agent that the step is about.
func (c *cell) agent() string { return cmp.Or(c.step.agent, "falcon") }

func (c *cell) whyNotAt(e end, a meta.RealAgent) string {
	if e.place != "" && a.WorkDir != c.l.Path(e.place) {
		return "it is in " + a.WorkDir
	}
	if c.isSelf() && c.l.Server.Updater() != e.version {
		return c.l.Server.Updater() + " was answered last"
	}
	for _, v := range e.gone {
		if _, err := os.Stat(filepath.Join(c.l.Path(e.place), c.agent(), v)); err == nil {
			return v + " is still there"
		}
	}
	return ""
}
