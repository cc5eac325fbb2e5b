package control

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/host/process"
)

// fence bounds what a control script starts while it runs: by a control group
// of its own where one can be made, and otherwise, for users other than root,
// by the number of processes that the user may have. When the script has ended
// a daemon that it started is let out; it has no bound of ours.
type fence struct {
	limit  int
	starts bool       // daemons, which live on
	group  *taskGroup // or nil
	user   *userLimit // or nil
}

func newFence(limit int, verb string) *fence {
	f := &fence{limit: limit, starts: verb == VerbStart, group: newTaskGroup(limit)}
	if f.group == nil && os.Geteuid() != 0 {
		f.user = newUserLimit(limit)
	}
	return f
}

func (f *fence) startCommand(cmd *exec.Cmd) error {
	switch {
	case f.group != nil:
		return f.group.startCommand(cmd)
	case f.user != nil:
		return f.user.startCommand(cmd)
	}
	return startUnlessBusy(cmd)
}

// letOut lets what is left live on, or ends it; the text says why it was ended.
func (f *fence) letOut(failed, killed bool) string {
	var inside interface {
		countTasks() int
		wasRefused() bool
		liftBound()
		endAll()
	}
	switch {
	case f.group != nil:
		inside = f.group
	case f.user != nil && (f.starts || failed):
		inside = f.user
	default: // what a question left keeps the user's limit
		return ""
	}
	left := leftOver{tasks: inside.countTasks(), limit: f.limit, refused: inside.wasRefused(), failed: failed, killed: killed}
	if left.judgeCrowd() == crowdLives {
		inside.liftBound()
		return ""
	}
	inside.endAll()
	return crowdedMessage(f.limit)
}

// userLimit is RLIMIT_NPROC of the script: what the user has anyway, and limit.
// That it was reached cannot be asked. The value is also the mark by which its
// processes are known, so that no two scripts of a user have the same.
type userLimit struct {
	before unix.Rlimit
	room   uint64 // for the script
	soft   uint64
	ending bool // the right to fork is being taken from them
}

// userMarks is how many values there are for the scripts of one user.
const userMarks = 256

// startingLimited: our own limit is lowered while a script is started, so that
// there is no moment in which it has none.
var startingLimited sync.Mutex

func newUserLimit(limit int) *userLimit {
	u := &userLimit{room: uint64(limit)}
	if unix.Prlimit(0, unix.RLIMIT_NPROC, nil, &u.before) != nil {
		return nil
	}
	u.markAbove(uint64(usualTasks.count()))
	if u.soft >= u.before.Cur {
		return nil // its own is lower
	}
	return u
}

// marksGiven tells the scripts of this process apart; those of others begin
// elsewhere.
var marksGiven atomic.Uint64

func init() { marksGiven.Store(uint64(os.Getpid()) * 16) }

// markAbove takes a limit with room beside so many processes that no process of
// the user has.
func (u *userLimit) markAbove(others uint64) {
	for range userMarks {
		u.soft = others + u.room + marksGiven.Add(1)%userMarks
		if len(u.listMembers()) == 0 {
			return
		}
	}
}

// startCommand counts again where the user has more by now, so that it is never our own
// limit that keeps a script from being run.
func (u *userLimit) startCommand(cmd *exec.Cmd) error {
	err := u.startLimited(cmd)
	if errors.Is(err, syscall.EAGAIN) {
		u.markAbove(max(u.soft-u.room, uint64(tasksOfUser(os.Geteuid()))))
		err = u.startLimited(cmd)
	}
	return err
}

func (u *userLimit) startLimited(cmd *exec.Cmd) error {
	startingLimited.Lock()
	defer startingLimited.Unlock()
	if err := unix.Prlimit(0, unix.RLIMIT_NPROC, &unix.Rlimit{Cur: u.soft, Max: u.before.Max}, nil); err != nil {
		return startUnlessBusy(cmd)
	}
	err := startUnlessBusy(cmd)
	return errors.Join(err, unix.Prlimit(0, unix.RLIMIT_NPROC, &u.before, nil))
}

// listMembers are the processes that have the limit, which nobody else sets.
func (u *userLimit) listMembers() (all []process.Process) {
	for _, pid := range process.All() {
		var has unix.Rlimit
		if pid == os.Getpid() || unix.Prlimit(pid, unix.RLIMIT_NPROC, nil, &has) != nil || has.Cur != u.soft && (has.Cur != 0 || !u.ending) {
			continue
		}
		if p, alive := process.Look(pid); alive && p.UID == os.Geteuid() {
			all = append(all, p)
		}
	}
	return all
}

func (u *userLimit) countTasks() (n int) {
	for _, p := range u.listMembers() {
		n += process.Threads(p.Pid)
	}
	return n
}

func (u *userLimit) wasRefused() bool { return tasksOfUser(os.Geteuid()) >= int(u.soft)*9/10 }

// liftBound is repeated for what was forked meanwhile.
func (u *userLimit) liftBound() {
	for range maxRounds {
		members := u.listMembers()
		for _, p := range members {
			_ = unix.Prlimit(p.Pid, unix.RLIMIT_NPROC, &u.before, nil)
		}
		if len(members) == 0 {
			return
		}
	}
}

// endAll first takes from everyone the right to fork, then kills. What was killed
// counts as the user's until it is reaped, and would keep the next script from
// forking.
func (u *userLimit) endAll() {
	u.ending = true
	var killed []int
	for range maxRounds {
		members := u.listMembers()
		for _, p := range members {
			_ = unix.Prlimit(p.Pid, unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 0, Max: u.before.Max}, nil)
		}
		now := process.KillAll(members)
		if len(now) == 0 {
			break
		}
		killed = append(killed, now...)
	}
	isThere := func(pid int) bool { return unix.Kill(pid, 0) == nil }
	process.PollUntil(endPatience, func() bool { return !slices.ContainsFunc(killed, isThere) })
	usualTasks.forget() // who is not reaped by now, since init is slow, is beside the next script
}

// maxRounds bounds what is repeated until nobody is left.
const maxRounds = 100

// usualTasks is what this user has anyway.
var usualTasks taskCount

// taskCount is counted now and then: with many processes on the host it takes
// longer than most control scripts.
type taskCount struct {
	mu      sync.Mutex
	counted time.Time
	n       int
}

// countEvery is how long a count is good for.
const countEvery = 10 * time.Second

func (c *taskCount) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.counted) > countEvery {
		c.counted, c.n = time.Now(), tasksOfUser(os.Geteuid())
	}
	return c.n
}

func (c *taskCount) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counted = time.Time{}
}

func tasksOfUser(uid int) (n int) {
	for _, pid := range process.All() {
		var st unix.Stat_t
		if unix.Stat(process.File(pid, "."), &st) == nil && int(st.Uid) == uid {
			n += process.Threads(pid)
		}
	}
	return n
}

// onThisThread runs do on a thread that nothing else uses meanwhile.
func onThisThread(do func(tid int)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	do(unix.Gettid())
}
