package control

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
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
// That it was reached cannot be asked.
type userLimit struct {
	before unix.Rlimit
	room   uint64 // for the script
	soft   uint64
}

// startingLimited: our own limit is lowered while a script is started, so that
// there is no moment in which it has none.
var startingLimited sync.Mutex

func newUserLimit(limit int) *userLimit {
	u := &userLimit{room: uint64(limit)}
	if unix.Prlimit(0, unix.RLIMIT_NPROC, nil, &u.before) != nil {
		return nil
	}
	u.soft = uint64(usualTasks() + limit)
	if u.soft >= u.before.Cur {
		return nil // its own is lower
	}
	return u
}

// startCommand counts again where the user has more by now, so that it is never our own
// limit that keeps a script from being run.
func (u *userLimit) startCommand(cmd *exec.Cmd) error {
	err := u.startLimited(cmd)
	if errors.Is(err, syscall.EAGAIN) {
		u.soft = max(u.soft, uint64(tasksOfUser(os.Geteuid()))+u.room)
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
		if pid == os.Getpid() || unix.Prlimit(pid, unix.RLIMIT_NPROC, nil, &has) != nil || has.Cur != u.soft && has.Cur != 0 {
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
}

// maxRounds bounds what is repeated until nobody is left.
const maxRounds = 100

// usualTasks is what this user has anyway, counted now and then: with many
// processes on the host it takes longer than most control scripts.
var usualTasks = func() func() int {
	const every = 10 * time.Second
	var mu sync.Mutex
	var counted time.Time
	var n int
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(counted) > every {
			counted, n = time.Now(), tasksOfUser(os.Geteuid())
		}
		return n
	}
}()

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
