package main

import (
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// opsMeta starts `ops-meta serve` with --data meta and whatever flags the
// script gives, on a loopback port of its own, and waits until it answers. It
// sets OPS_META_SERVER, OPS_META_TOKEN (the first admin's) and META, the
// host:port; its number is in meta.pid. A second call after the first server
// has ended takes the same port.
func opsMeta(ts *testscript.TestScript, neg bool, args []string) {
	listen := ts.Getenv("OPS_META_LISTEN")
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	_ = os.Remove(ts.MkAbs("meta/address"))
	log, err := os.OpenFile(ts.MkAbs("meta.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	cmd := command(ts, append([]string{"ops-meta", "serve", "--data", "meta", "--listen", listen}, args...))
	cmd.Stdout, cmd.Stderr = log, log
	ts.Check(cmd.Start())
	ts.Check(os.WriteFile(ts.MkAbs("meta.pid"), []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600))
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		<-ended
	})
	address := awaitAddress(ts, cmd, ended)
	u, err := url.Parse(address)
	ts.Check(err)
	ts.Setenv("OPS_META_LISTEN", u.Host)
	ts.Setenv("META", u.Host)
	ts.Setenv("OPS_META_SERVER", address)
	if ts.Getenv("OPS_META_TOKEN") == "" {
		ts.Setenv("OPS_META_TOKEN", strings.TrimSpace(ts.ReadFile("meta/admin.token")))
	}
}

func awaitAddress(ts *testscript.TestScript, _ *exec.Cmd, ended <-chan struct{}) string {
	deadline := time.Now().Add(patience)
	for {
		if data, err := os.ReadFile(ts.MkAbs("meta/address")); err == nil && strings.HasSuffix(string(data), "\n") {
			return strings.TrimSpace(string(data))
		}
		select {
		case <-ended:
			ts.Fatalf("ops-meta ended at once:\n%s", ts.ReadFile("meta.log"))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			ts.Fatalf("ops-meta did not start within %v:\n%s", patience, ts.ReadFile("meta.log"))
		}
	}
}

// fails runs a command that must end with a given exit code and say what a
// pattern matches: fails CODE PATTERN CMD ARG...
func fails(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, "fails CODE PATTERN CMD ARG...")
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	out, err := command(ts, args[2:]).CombinedOutput()
	ts.Logf("%s", out)
	got := 0
	if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // exec returns it bare
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%s: %v", args[2], err)
	}
	if got != code {
		ts.Fatalf("%s ended with %d, want %d", strings.Join(args[2:], " "), got, code)
	}
	if ok, err := regexp.Match(`(?m)`+args[1], out); err != nil || !ok {
		ts.Fatalf("%q is not in what it said", args[1])
	}
}

func sigkill(ts *testscript.TestScript, _ bool, args []string) { sendSignal(ts, args, syscall.SIGKILL) }
