package runas

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/lastwords"
)

// Error is a command that could not be started as another user, or failed.
type Error struct {
	User   string
	Method Method
	Why    string // one sentence: the cause and, when it is the system's setup, how to mend it
	Err    error
}

// Error names the user, the cause and the next step.
func (e *Error) Error() string {
	s := fmt.Sprintf("cannot run as %s: %s", e.User, e.Why)
	if e.Err != nil && !errors.Is(e.Err, ErrUnknownUser) {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// complaint is something sudo says, and what it means to those who run us.
type complaint struct {
	says    []string // any of these
	meaning string   // {user} stands for the user wanted
}

var complaints = []complaint{
	{
		[]string{"must have a tty", "no tty present", "a terminal is required"},
		"sudo wants a terminal (requiretty): add “Defaults !requiretty” for the sidecar's user with visudo",
	},
	{
		[]string{"a password is required", "password is required"},
		"sudo wants a password: add “NOPASSWD:” to the sidecar's rule for ({user}) with visudo",
	},
	{
		[]string{"not in the sudoers file", "not allowed to execute", "not allowed to run sudo", "may not run sudo"},
		"sudo does not allow it: add a rule such as “SIDECAR ALL=({user}) NOPASSWD: /path/of/ops-updater child” with visudo",
	},
	{
		[]string{"unknown user", "unable to initialize policy: user"},
		"the user does not exist: create it (useradd --system --user-group --create-home {user}) or set create_users to true",
	},
	{
		[]string{"no new privileges"},
		"the system forbids gaining privileges: remove NoNewPrivileges= from the sidecar's unit, or allow it in its container",
	},
	{
		[]string{"effective uid is not 0", "must be owned by uid 0", "setuid root"},
		"sudo has lost its setuid bit or lies on a nosuid filesystem: reinstall sudo, or run ops-updater as root",
	},
	{
		[]string{"unable to execute", "command not found"},
		"sudo cannot execute ops-updater as {user}: the program and every directory above it must be executable by that user (chmod o+x)",
	},
}

// ExplainSudo finds the cause in what sudo printed, or returns an empty string.
func ExplainSudo(user, stderr string) string {
	low := strings.ToLower(stderr)
	for _, c := range complaints {
		for _, s := range c.says {
			if strings.Contains(low, s) {
				return strings.ReplaceAll(c.meaning, "{user}", user)
			}
		}
	}
	return ""
}

// ExplainExit says in a sentence why a command that was started has failed,
// from what it wrote to its standard error.
func ExplainExit(method Method, user, stderr string) string {
	if method == Sudo {
		if why := ExplainSudo(user, stderr); why != "" {
			return why
		}
	}
	if lastwords.WantsThread(stderr) {
		return noneLeft(user)
	}
	if says := troubleIn(stderr); says != "" {
		return "the command failed, saying “" + says + "”"
	}
	return "the command failed"
}

// ExplainStart says in a sentence why the program at path could not be started.
func ExplainStart(method Method, user, path string, err error) string {
	switch {
	case method == Setuid && errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("%s cannot execute the program: its file must be executable by everyone (chmod 0755) and lie on a filesystem without noexec", user)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		return path + " does not exist"
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return noneLeft(user)
	default:
		return "the command does not start"
	}
}

func noneLeft(user string) string {
	return fmt.Sprintf("the host gives %s no more processes, memory or files (ulimit -u, cgroup pids.max, memory): end what has them, or raise the limit", user)
}

// troubleIn is the line of stderr that says what is wrong.
func troubleIn(stderr string) string {
	if death := lastwords.Death(stderr); death != "" {
		return death[:min(len(death), 300)]
	}
	return lastLine(stderr)
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	s = s[strings.LastIndexByte(s, '\n')+1:]
	return s[:min(len(s), 300)]
}
