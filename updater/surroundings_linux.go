package updater

import (
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// How many files control scripts may open: as many as the hard limit allows
// within these. The runtime hides the soft limit that it was started with, so it
// cannot be kept; and programs that close all there might be take for ever over
// a limit without end.
const (
	minFiles = 1 << 10
	maxFiles = 1 << 16
)

func raiseLimits() {
	for _, resource := range []int{syscall.RLIMIT_FSIZE, syscall.RLIMIT_CPU} {
		raiseLimit(resource, unix.RLIM_INFINITY)
	}
	raiseLimit(syscall.RLIMIT_NOFILE, minFiles)
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		files.Cur = min(files.Max, maxFiles)
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files) // which also is what children get
	}
}

// wasIgnored reports whether s was ignored when the program began.
func wasIgnored(s syscall.Signal) bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return signal.Ignored(s)
	}
	_, after, _ := strings.Cut(string(status), "\nSigIgn:")
	mask, err := strconv.ParseUint(strings.Fields(after + " 0")[0], 16, 64)
	return err == nil && mask&(1<<(s-1)) != 0
}

// raiseLimit makes the soft limit at least want; the hard one as well, where
// that is allowed.
func raiseLimit(resource int, want uint64) {
	var l syscall.Rlimit
	if syscall.Getrlimit(resource, &l) != nil || l.Cur >= want {
		return
	}
	if l.Max < want && syscall.Setrlimit(resource, &syscall.Rlimit{Cur: want, Max: want}) == nil {
		return
	}
	l.Cur = min(want, l.Max)
	_ = syscall.Setrlimit(resource, &l)
}

// restartedMark is set for a program that was begun anew, so that this is not done
// twice.
const restartedMark = "OPS_UPDATER_BEGUN_ANEW"

// unblockSignals begins the program anew when signals are blocked: the runtime
// gives the mask that it found to everything that is started.
func unblockSignals() {
	again := os.Getenv(restartedMark) != ""
	_ = os.Unsetenv(restartedMark)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var blocked, none unix.Sigset_t
	if again || unix.PthreadSigmask(unix.SIG_SETMASK, nil, &blocked) != nil || blocked == none {
		return
	}
	self, err := os.Executable() // not /proc/self/exe, after which the process would be named
	if err == nil && unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil) == nil {
		_ = syscall.Exec(self, os.Args, append(os.Environ(), restartedMark+"=1"))
	}
}
