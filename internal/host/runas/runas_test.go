package runas_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/runas"
)

// TestMain lets this test program be the command that is started.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		os.Exit(helper(os.Args[2], os.Args[3:]))
	}
	m.Run()
}

// helper is what the started command does.
func helper(what string, args []string) int {
	switch what {
	case "who": // says who it is, then waits for the end of its input
		groups, _ := os.Getgroups()
		slices.Sort(groups)
		fmt.Printf("uid=%d gid=%d groups=%v home=%s user=%s logname=%s secret=%q\n",
			os.Getuid(), os.Getgid(), groups, os.Getenv("HOME"), os.Getenv("USER"), os.Getenv("LOGNAME"), os.Getenv("SECRET"))
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "hang": // never looks at its input
		fmt.Println(os.Getpid())
		select {}
	case "fail":
		fmt.Fprintln(os.Stderr, strings.Repeat("noise\n", 10_000)+"the disk is on fire")
		return 3
	case "as": // starts "who" as another user and says how that went
		p, err := runas.Start(context.Background(), runas.Command{User: args[0], Path: args[1], Args: []string{"helper", "who"}})
		if err != nil {
			fmt.Println(err)
			return 0
		}
		_ = p.Stdin.Close()
		out, _ := io.ReadAll(p.Stdout)
		fmt.Printf("%s %s%v\n", p.Method, out, p.Wait())
	}
	return 0
}

// run starts this program as a helper and returns what it printed.
func run(t *testing.T, c runas.Command) (string, error) {
	t.Helper()
	p, err := runas.Start(t.Context(), c)
	if err != nil {
		return "", err
	}
	_ = p.Stdin.Close()
	out, err := io.ReadAll(p.Stdout)
	return string(out), errors.Join(err, p.Wait())
}

func TestOwnUserGetsACleanEnvironment(t *testing.T) {
	t.Setenv("SECRET", "token")
	out, err := run(t, runas.Command{Args: []string{"helper", "who"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("uid=%d gid=%d ", os.Getuid(), os.Getgid()); !strings.HasPrefix(out, want) || !strings.Contains(out, `secret=""`) {
		t.Errorf("got %q, want %q and no secret", out, want)
	}
	out, err = run(t, runas.Command{Args: []string{"helper", "who"}, Env: []string{"SECRET=given"}})
	if err != nil || !strings.Contains(out, `secret="given"`) {
		t.Errorf("got %q, %v; want the variable that was given", out, err)
	}
}

func TestFailureIsTheLastThingItSaid(t *testing.T) {
	_, err := run(t, runas.Command{Args: []string{"helper", "fail"}})
	var failed *runas.Error
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "“the disk is on fire”") || len(err.Error()) > 1000 {
		t.Fatalf("got %v", err)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("the exit status is lost: %v", err)
	}
}

func TestEndOfContextEndsTheCommand(t *testing.T) {
	for _, what := range []string{"who", "hang"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			p, err := runas.Start(ctx, runas.Command{Args: []string{"helper", what}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Stdout.Read(make([]byte, 1)); err != nil { // it runs
				t.Fatal(err)
			}
			cancel()
			if _, err := io.ReadAll(p.Stdout); err != nil {
				t.Errorf("reading to the end: %v", err)
			}
			err = p.Wait()
			if (what == "hang") != (err != nil) {
				t.Errorf("wait: %v", err)
			}
			if err := syscall.Kill(p.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("the command is still there: %v", err)
			}
		})
	}
}

// TestI6OutputHeldByADescendantDoesNotBlock has a shell leave a daemon behind
// that keeps both output pipes.
func TestI6OutputHeldByADescendantDoesNotBlock(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: waits for a timeout")
	}
	started := time.Now()
	p, err := runas.Start(t.Context(), runas.Command{Path: "/bin/sh", Args: []string{"-c", "sleep 60 & echo $!"}})
	if err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(p.Stdout)
	if err := p.Wait(); err != nil {
		t.Errorf("wait: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || syscall.Kill(pid, syscall.SIGKILL) != nil {
		t.Errorf("the descendant %q did not live on: %v", out, err)
	}
	if time.Since(started) > 30*time.Second {
		t.Error("the descendant held us up")
	}
}

func TestBadCommandsAreRefused(t *testing.T) {
	cases := map[string]struct {
		command runas.Command
		want    string
	}{
		"relative path":  {runas.Command{Path: "sh"}, "must be absolute"},
		"missing":        {runas.Command{Path: "/does/not/exist"}, "does not exist"},
		"option as user": {runas.Command{User: "-u"}, "not a user name"},
		"unknown user":   {runas.Command{User: "no-such-user-here"}, "create it"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := run(t, c.command); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := run(t, runas.Command{User: "no-such-user-here"}); !errors.Is(err, runas.ErrUnknownUser) {
		t.Errorf("an unknown user cannot be told: %v", err)
	}
}

func TestMethodFor(t *testing.T) {
	for _, c := range []struct {
		self, target int
		want         runas.Method
	}{{0, 0, runas.Plain}, {1000, 1000, runas.Plain}, {0, 1000, runas.Setuid}, {1000, 1001, runas.Sudo}, {1000, 0, runas.Sudo}} {
		if got := runas.MethodFor(c.self, c.target); got != c.want {
			t.Errorf("MethodFor(%d, %d) = %s, want %s", c.self, c.target, got, c.want)
		}
	}
}

func TestExplainSudo(t *testing.T) {
	cases := map[string]string{
		"sudo: sorry, you must have a tty to run sudo\n": "requiretty",
		"sudo: a password is required\n":                 "NOPASSWD:",
		"sudo: a terminal is required to read the password; either use the -S option to read from standard input or configure an askpass helper\n": "requiretty",
		"Sorry, user falcon is not allowed to execute '/opt/x child' as admin on host.\n":                                                          "add a rule",
		"falcon is not in the sudoers file.\n":                                                     "add a rule",
		"sudo: unknown user: admin\n":                                                              "useradd",
		"sudo: unable to execute /root/ops-updater: Permission denied\n":                           "chmod o+x",
		"sudo: The \"no new privileges\" flag is set, which prevents sudo from running as root.\n": "NoNewPrivileges",
		"sudo: effective uid is not 0, is /usr/bin/sudo on a file system with the 'nosuid' option set or an NFS file system without root privileges?": "nosuid",
		"panic: something of our own\n": "",
	}
	for says, want := range cases {
		got := runas.ExplainSudo("admin", says)
		if !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%q is explained as %q, want %q", says, got, want)
		}
	}
}

// A Go program says why it dies first, and prints pages of traces then.
func TestTheReasonOfADeathIsItsFirstLine(t *testing.T) {
	trace := `i=0; while [ $i -lt 500 ]; do echo "goroutine $i [running]: main.main() /src/main.go:$i +0x1d"; i=$((i+1)); done >&2; exit 2`
	for _, says := range []string{"panic: no such thing", "fatal error: out of memory", "runtime: out of memory: cannot allocate 4194304-byte block", "SIGSEGV: segmentation violation"} {
		p, err := runas.Start(t.Context(), runas.Command{Path: "/bin/sh", Args: []string{"-c", `echo "ready" >&2; echo "$0" >&2; ` + trace, says}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err == nil || !strings.Contains(err.Error(), "saying “"+says+"”") {
			t.Errorf("%v; want %q", err, says)
		}
		if kept := p.Stderr(); len(kept) > 9<<10 || !strings.Contains(kept, "goroutine 499 ") {
			t.Errorf("%d bytes are kept, ending in %q", len(kept), kept[max(0, len(kept)-80):])
		}
	}
}

// A program that gets no thread dies in the middle of whatever it does.
func TestADeathForWantOfThreadsIsTheHosts(t *testing.T) {
	for _, says := range []string{
		"runtime/cgo: pthread_create failed: Resource temporarily unavailable\nSIGABRT: abort\nPC=0x7f",
		"runtime: failed to create new OS thread (have 2 already; errno=11)\nruntime: may need to increase max user processes (ulimit -u)\nfatal error: newosproc",
	} {
		if got := runas.ExplainExit(runas.Setuid, "falcon", "ready\n"+says); !strings.Contains(got, "no more processes, memory or files") || !strings.Contains(got, "falcon") {
			t.Errorf("%q; want it to say that the host gives no more", got)
		}
	}
	if got := runas.ExplainExit(runas.Setuid, "falcon", "SIGABRT: abort"); !strings.Contains(got, "SIGABRT") {
		t.Errorf("got %q", got)
	}
}

// need skips unless the test runs as root with these programs, loudly, and
// fails where everything is promised to be there.
func need(t *testing.T, programs ...string) {
	t.Helper()
	missing := ""
	if os.Getuid() != 0 {
		missing = "root"
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing += " " + p
		}
	}
	if missing == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("NOT TESTED: other users; missing: %s", missing)
	}
	t.Skipf("NOT TESTED: other users; missing: %s", missing)
}

// system runs an administrator's command.
func system(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}

// newUser creates a user of a unique name through Ensure and removes it
// afterwards. The group of extra is a supplementary one.
func newUser(t *testing.T, kind string) (name string, extra int) {
	t.Helper()
	name = fmt.Sprintf("opsu%s%d", kind, os.Getpid())
	created, err := runas.Ensure(t.Context(), name)
	if err != nil || !created {
		t.Fatalf("ensure: %v, %v", created, err)
	}
	group := name + "x"
	system(t, "groupadd", "--system", group)
	t.Cleanup(func() {
		system(t, "userdel", "--remove", "--force", name)
		system(t, "groupdel", group)
	})
	system(t, "usermod", "--append", "--groups", group, name)
	again, err := runas.Ensure(t.Context(), name)
	if err != nil || again {
		t.Fatalf("ensure of a user that exists: %v, %v", again, err)
	}
	out, err := exec.Command("getent", "group", group).Output()
	if err != nil {
		t.Fatal(err)
	}
	if extra, err = strconv.Atoi(strings.Split(string(out), ":")[2]); err != nil {
		t.Fatal(err)
	}
	return name, extra
}

// who is the line the helper prints for this user.
func who(t *testing.T, name string) string {
	t.Helper()
	id, err := runas.Lookup(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	groups := slices.Sorted(slices.Values(id.Groups))
	return fmt.Sprintf("uid=%d gid=%d groups=%v home=%s user=%s logname=%s secret=\"\"\n", id.UID, id.GID, groups, id.Home, name, name)
}

func TestRootBecomesAnotherUserWithItsGroups(t *testing.T) {
	need(t, "useradd", "getent")
	t.Setenv("SECRET", "token")
	name, extra := newUser(t, "a")
	if want := who(t, name); !strings.Contains(want, strconv.Itoa(extra)) {
		t.Fatalf("the supplementary group %d is not found: %s", extra, want)
	}
	// This very program lies in a directory that only root can enter.
	out, err := run(t, runas.Command{User: name, Args: []string{"helper", "who"}})
	if err != nil || out != who(t, name) {
		t.Errorf("got %q, %v; want %q", out, err, who(t, name))
	}
	hidden := copySelf(t, 0o700)
	if _, err := run(t, runas.Command{User: name, Path: hidden, Args: []string{"helper", "who"}}); err == nil || !strings.Contains(err.Error(), "executable by everyone") {
		t.Errorf("a program out of reach: %v", err)
	}
}

// copySelf puts this program into a directory of the given mode.
func copySelf(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "runas")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "program"), b, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "program")
}

func TestNormalUserGoesThroughSudo(t *testing.T) {
	need(t, "sudo", "useradd", "getent")
	sidecar, _ := newUser(t, "s")
	admin, _ := newUser(t, "b")
	program, hidden := copySelf(t, 0o755), copySelf(t, 0o711)
	if err := os.Chmod(hidden, 0o700); err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join("/etc/sudoers.d", sidecar)
	t.Cleanup(func() { _ = os.Remove(rules) })
	free := fmt.Sprintf("%s ALL=(%s) NOPASSWD: ALL\n", sidecar, admin)
	cases := []struct{ name, rules, user, program, want string }{
		{"no rule", "", admin, program, "sudo"},
		{"password", fmt.Sprintf("%s ALL=(%s) ALL\n", sidecar, admin), admin, program, "NOPASSWD:"},
		{"requiretty", free + fmt.Sprintf("Defaults:%s requiretty\n", sidecar), admin, program, "requiretty"},
		{"other user only", strings.ReplaceAll(free, admin, "daemon"), admin, program, "sudo"},
		{"out of reach", free, admin, hidden, "chmod o+x"},
		{"allowed", free, admin, program, "sudo " + who(t, admin) + "<nil>"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(rules, []byte(c.rules), 0o440); err != nil {
				t.Fatal(err)
			}
			out, err := run(t, runas.Command{User: sidecar, Path: program, Args: []string{"helper", "as", c.user, c.program}})
			if err != nil || !strings.Contains(out, c.want) {
				t.Errorf("got %q, %v; want %q", out, err, c.want)
			}
			if c.name != "allowed" && !strings.Contains(out, "visudo") && !strings.Contains(out, "chmod") {
				t.Errorf("no way out is named: %q", out)
			}
		})
	}
}

func TestADirectoryServiceThatDoesNotAnswerIsNotAnUnknownUser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: waits for a timeout")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "getent"), []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	_, err := runas.Lookup(t.Context(), "nobody-knows-yet")
	if err == nil || errors.Is(err, runas.ErrUnknownUser) || !strings.Contains(err.Error(), "no answer within 5s") {
		t.Fatalf("lookup: %v; want that it cannot be told: such a user must not be created", err)
	}
}
