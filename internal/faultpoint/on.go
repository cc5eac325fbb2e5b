//go:build faultpoints

// Package faultpoint lets the kill tests end or stop a program at a named
// moment. The faults are named in the environment:
//
//	OPS_UPDATER_FAULT=point:action[:file]
//
// where action is kill (SIGKILL), exit, hang, wait or error. With a file, the fault
// happens only once: the first process to create the file has it, and writes its
// number there. Who waits goes on when {file}.go appears. An error is what [Fail]
// returns.
package faultpoint

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const variable = "OPS_UPDATER_FAULT"

// waitLimit ends a process that nobody lets go on, with those who asked for the
// fault gone.
const waitLimit = 5 * time.Minute

// faultAt is what was asked for at the moment called name.
func faultAt(name string) (action, once string) {
	point, rest, _ := strings.Cut(os.Getenv(variable), ":")
	if action, once, _ = strings.Cut(rest, ":"); point != name {
		return "", ""
	}
	return action, once
}

// Hit marks the moment called name.
func Hit(name string) {
	action, once := faultAt(name)
	if action == "" || action == "error" || !claimFile(once) {
		return
	}
	switch action {
	case "wait":
		waitUntilLetGo(once + ".go")
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "exit":
		os.Exit(3) //nolint:forbidigo // the fault that was asked for
	case "hang":
		select {}
	}
}

func claimFile(file string) bool {
	if file == "" {
		return true
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return false
	}
	_, _ = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	return f.Close() == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Fail is the error that was asked for at the moment called name, or nil.
func Fail(name string) error {
	if action, once := faultAt(name); action == "error" && claimFile(once) {
		return errors.New("the fault that was asked for at " + name)
	}
	return nil
}

// Environment is what a child process needs to have the same faults.
func Environment() []string {
	if v, ok := os.LookupEnv(variable); ok {
		return []string{variable + "=" + v}
	}
	return nil
}

// waitUntilLetGo waits for the file that lets this process go on. It cannot be
// cancelled but by the end of the process, which is what the moment is for; nobody
// waits for ever, should the test be gone.
func waitUntilLetGo(file string) {
	limit, look := time.After(waitLimit), time.NewTicker(2*time.Millisecond)
	defer look.Stop()
	for !exists(file) {
		select {
		case <-look.C:
		case <-limit:
			os.Exit(3) //nolint:forbidigo // nobody is there any more
		}
	}
}
