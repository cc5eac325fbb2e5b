//go:build faultpoints

// Package faultpoint lets the kill tests end or stop a program at a named
// moment. The faults are named in the environment:
//
//	OPS_UPDATER_FAULT=point:action[:file]
//
// where action is kill (SIGKILL), exit or hang. With a file, the fault happens
// only once: the first process to create the file has it.
package faultpoint

import (
	"os"
	"strings"
	"syscall"
)

const variable = "OPS_UPDATER_FAULT"

// Hit marks the moment called name.
func Hit(name string) {
	point, rest, _ := strings.Cut(os.Getenv(variable), ":")
	action, once, _ := strings.Cut(rest, ":")
	if point != name || !claimFile(once) {
		return
	}
	switch action {
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
	return f.Close() == nil
}

// Environment is what a child process needs to have the same faults.
func Environment() []string {
	if v, ok := os.LookupEnv(variable); ok {
		return []string{variable + "=" + v}
	}
	return nil
}
