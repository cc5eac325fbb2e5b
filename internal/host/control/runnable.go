package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/host/mount"
	"github.com/ops-updater/ops-updater/internal/host/process"
)

// Codes of an [Unrunnable]. They are stable: servers compare them.
const (
	CodeNoExec        = "noexec"         // the filesystem is mounted noexec
	CodeNoAccess      = "no-access"      // the run user may not enter a directory
	CodeNotExecutable = "not-executable" // control, or its interpreter, lacks the permission
	CodeNoInterpreter = "no-interpreter" // what the first line of control names is not here
	CodeWrongMachine  = "wrong-machine"  // a program for another kind of machine
	CodeNoScript      = "no-script"      // neither a script with a first line nor a program
	CodeCRLF          = "crlf"           // the line ends of Windows
	CodeScriptBusy    = "script-busy"    // something writes to control
	CodeNoResources   = "no-resources"   // the host gives no process, memory or file
	CodeStalePid      = "stale-pid"      // a pid file elsewhere names a stranger, and the script believes it
	CodeDisplaced     = "displaced"      // the agent runs on from a filesystem that was unmounted
	CodeForbidden     = "forbidden"      // the kernel refuses without a reason that can be found
)

// Unrunnable says why the control script of a version cannot be run here.
type Unrunnable struct {
	Code string // one of the Code constants
	Host bool   // the host is at fault, not the release: it passes or is mended there
	Err  error
}

// Error is the cause, for people.
func (e *Unrunnable) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Unrunnable) Unwrap() error { return e.Err }

// HostFault is an [Unrunnable] that no release is to be blamed for.
func HostFault(code, format string, args ...any) *Unrunnable {
	return &Unrunnable{Code: code, Host: true, Err: fmt.Errorf(format, args...)}
}

func releaseFault(code, format string, args ...any) *Unrunnable {
	return &Unrunnable{Code: code, Err: fmt.Errorf(format, args...)}
}

// Runnable is what can be known without running anything of whether this user
// can run script here and now.
func Runnable(script string, env []string) error {
	if err := checkExecutable(script, "chmod +x it; where it was packed like that, before packing"); err != nil {
		return err
	}
	return checkInterpreter(script, searchPathOf(env), 0)
}

// checkExecutable goes through the directories from the root on, so that it can name
// the one that is closed.
func checkExecutable(file, mend string) error {
	if err := CheckReach(file); err != nil {
		return err
	}
	fi, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return HostFault(CodeNotExecutable, "cannot run %s: it is not there", file)
	case err != nil:
		return HostFault(CodeNoAccess, "cannot run %s: %w", file, err)
	case !fi.Mode().IsRegular():
		return HostFault(CodeNotExecutable, "cannot run %s: it is no regular file", file)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, file, unix.X_OK, unix.AT_EACCESS); err == nil {
		return nil
	}
	if at, is := mount.Noexec(file); is {
		return HostFault(CodeNoExec, "cannot run %s: its filesystem is mounted noexec; mount %s with exec, or have another work directory", file, at)
	}
	return HostFault(CodeNotExecutable, "cannot run %s: it is not executable for %s; %s", file, process.UserName(os.Geteuid()), mend)
}

// CheckReach names the directory on the way to file that this user may not enter.
func CheckReach(file string) error {
	for i, c := range file {
		if c != '/' || i == 0 {
			continue
		}
		if err := unix.Faccessat(unix.AT_FDCWD, file[:i], unix.X_OK, unix.AT_EACCESS); errors.Is(err, unix.EACCES) {
			return HostFault(CodeNoAccess, "cannot reach %s: %s may not enter %s; let it (chmod o+x, or chown)", file, process.UserName(os.Geteuid()), file[:i])
		}
	}
	return nil
}

// maxInterpreters is how many scripts the kernel follows.
const maxInterpreters = 4

// checkInterpreter checks what executes file: the kernel itself, or the program that
// its first line names.
func checkInterpreter(file string, path []string, depth int) error {
	program, line := readShebang(file)
	if line == "" {
		return checkProgram(file, depth > 0)
	}
	switch {
	case line[len(line)-1] == '\r':
		return releaseFault(CodeCRLF, "cannot run %s: it has the line ends of Windows (CRLF); convert them before packing", file)
	case program == "":
		return releaseFault(CodeNoScript, "cannot run %s: its first line names no interpreter", file)
	case depth == maxInterpreters:
		return releaseFault(CodeNoScript, "cannot run %s: scripts interpret each other more than %d deep", file, maxInterpreters)
	}
	at := program
	if !filepath.IsAbs(at) { // the kernel looks in the working directory
		at = filepath.Join(filepath.Dir(file), at)
	}
	if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return HostFault(CodeNoInterpreter, "cannot run %s: its interpreter %s is not on this host: install it", file, program)
	}
	if err := checkExecutable(at, "chmod +x it"); err != nil {
		return fmt.Errorf("cannot run %s: its interpreter: %w", file, err)
	}
	if err := checkInterpreter(at, path, depth+1); err != nil {
		return err
	}
	return checkEnv(file, line, path)
}

// checkEnv looks for the program of a first line such as #!/usr/bin/env python3.
func checkEnv(file, line string, path []string) error {
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	if filepath.Base(words[0]) != "env" {
		return nil
	}
	for _, word := range words[1:] {
		if strings.HasPrefix(word, "-") || strings.Contains(word, "=") {
			continue
		}
		if strings.Contains(word, "/") {
			return nil
		}
		for _, dir := range path {
			if unix.Faccessat(unix.AT_FDCWD, filepath.Join(dir, word), unix.X_OK, unix.AT_EACCESS) == nil {
				return nil
			}
		}
		return HostFault(CodeNoInterpreter, "cannot run %s: its interpreter %s is not on this host, in none of %s: install it", file, word, strings.Join(path, ":"))
	}
	return nil
}

func searchPathOf(env []string) []string {
	path := searchPath
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			path = value
		}
	}
	return filepath.SplitList(path)
}

// busyPatience is how long control may be open for writing: a file that was
// just placed may still be, in a process that was forked at that moment.
const busyPatience = 2 * time.Second

// startUnlessBusy starts cmd, a little later where its file is still open for
// writing.
func startUnlessBusy(cmd *exec.Cmd) error {
	var err error
	process.PollUntil(busyPatience, func() bool {
		again := *cmd
		if err = again.Start(); err == nil {
			*cmd = again
		}
		return !errors.Is(err, syscall.ETXTBSY)
	})
	return err
}

func noScriptError(file string) error {
	return fmt.Errorf("cannot run %s: it does not begin with a line such as #!/bin/sh, and is no program for this machine", file)
}

// explainStart says why the kernel did not run script although it looked well.
func explainStart(script string, env []string, err error) error {
	if known := Runnable(script, env); known != nil {
		return known
	}
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		err = pe.Err // the path is in the sentence already
	}
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return &Unrunnable{Code: CodeNoScript, Err: noScriptError(script)}
	case errors.Is(err, syscall.ETXTBSY):
		return HostFault(CodeScriptBusy, "cannot run %s: something has it open for writing: %w", script, err)
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return HostFault(CodeNoResources, "cannot run %s: the host gives %s no more processes, memory or files (ulimit -u, cgroup pids.max, memory): %w", script, process.UserName(os.Geteuid()), err)
	}
	return HostFault(CodeForbidden, "cannot run %s: the system forbids it (a mount, SELinux, AppArmor or a seccomp filter): %w", script, err)
}
