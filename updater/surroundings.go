package updater

import (
	"os"
	"os/signal"
	"syscall"
)

// umask is what files of ours, of releases and of control scripts are made
// under, however the sidecar was started.
const umask = 0o022

// Settle makes this process and what it starts independent of whoever started
// it: umask, limits on files and processor time, signals that are ignored or
// blocked. It may begin the program anew, under the same process id. Limits
// that may not be raised stay.
func Settle() {
	syscall.Umask(umask)
	raiseLimits()
	unblockSignals()
	heedSignals()
}

// heedSignals: what is ignored stays ignored in programs that are started, and
// a shell script cannot even trap it then. What is heeded begins with its
// default there. This process itself ends by SIGTERM, or the end of its input.
func heedSignals() {
	dropped := make(chan os.Signal, 1)
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
		if wasIgnored(s) {
			signal.Notify(dropped, s)
		}
	}
}
