package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

// commands are what scripts may use beside testscript's own.
//
//	fakemeta [legacy]               start a server that answers every heartbeat with the file
//	                                reply.json as it is then, serves www/ below /www/, and notes
//	                                what it is asked in requests.log; sets META to its host:port;
//	                                legacy: knows the older dialect's path only
//	freeport VAR                    set VAR to a free loopback port
//	env2json FROM TO                copy FROM to TO with $VAR replaced
//	eventually PATTERN CMD ARG...   run CMD until its output matches PATTERN (patience at most)
//	fails CODE PATTERN CMD ARG...   run CMD, which must end with CODE and say what PATTERN matches
//	opsmeta [FLAG...]               start ops-meta serve, see opsMeta; its number is in meta.pid
//	within DURATION CMD ARG...      run CMD, which must end in time and succeed
//	release NAME VERSION DIR        pack DIR into www/$ARCH/NAME-VERSION.tar.gz with its .md5, and
//	                                into www/ without the arch, as older servers have it; sets MD5
//	sample NAME DIR                 copy testdata/agents/NAME to DIR
//	sigterm, sighup, sigkill PIDFILE  send the signal to the process whose number the file holds
//	gone PIDFILE                    wait until that process has ended (patience at most)
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"fakemeta":   fakeMeta,
	"freeport":   freePort,
	"env2json":   envToJSON,
	"eventually": eventually,
	"fails":      fails,
	"opsmeta":    opsMeta,
	"sigkill":    sigkill,
	"within":     within,
	"release":    release,
	"sample":     sample,
	"sigterm":    func(ts *testscript.TestScript, _ bool, args []string) { sendSignal(ts, args, syscall.SIGTERM) },
	"sighup":     func(ts *testscript.TestScript, _ bool, args []string) { sendSignal(ts, args, syscall.SIGHUP) },
	"gone":       gone,
	"sqlite":     sqlite,
}

// patience is how long a script waits for what must happen.
const patience = 2 * time.Minute

func arch() string { return runtime.GOOS + "_" + runtime.GOARCH }

func want(ts *testscript.TestScript, neg bool, args []string, least int, usage string) {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
}

func freePort(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "freeport VAR")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], port)
}

// envToJSON is testscript's envsubst for files that are JSON: no quoting.
func envToJSON(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "env2json FROM TO")
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// command makes a command line that runs in the script's directory and
// environment.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	path := args[0]
	if !strings.Contains(path, "/") {
		for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
			if p, err := exec.LookPath(filepath.Join(dir, args[0])); err == nil {
				path = p
				break
			}
		}
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"HOME=" + ts.Getenv("HOME")}
	for _, name := range []string{"PATH", "NO_COLOR", "OPS_META_SERVER", "OPS_META_TOKEN", "OPS_META_CONTEXT", "XDG_CONFIG_HOME", "OPS_UPDATER_FAULT", "TMPDIR"} {
		if v := ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.WaitDelay = time.Second
	return cmd
}

func eventually(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "eventually PATTERN CMD ARG...")
	pattern, err := regexp.Compile(`(?m)` + args[0])
	ts.Check(err)
	deadline := time.Now().Add(patience)
	for {
		out, err := command(ts, args[1:]).CombinedOutput()
		if pattern.Match(out) {
			ts.Logf("%s", out[max(0, len(out)-2000):])
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q did not appear within %v; the last output, with %v, ends with\n%s", args[0], patience, err, out[max(0, len(out)-2000):])
		}
		<-time.After(100 * time.Millisecond)
	}
}

func within(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "within DURATION CMD ARG...")
	limit, err := time.ParseDuration(args[0])
	ts.Check(err)
	start := time.Now()
	out, err := command(ts, args[1:]).CombinedOutput()
	ts.Logf("%s", out)
	ts.Check(err)
	if took := time.Since(start); took > limit {
		ts.Fatalf("took %v, more than %v", took, limit)
	}
}

// release packs a directory as a release, with files owned by nobody known.
func release(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, "release NAME VERSION DIR")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	ts.Check(w.AddFS(os.DirFS(ts.MkAbs(args[2]))))
	ts.Check(w.Close())
	ts.Check(z.Close())
	name := args[0] + "-" + args[1] + ".tar.gz"
	sum := md5.Sum(packed.Bytes())
	digest := hex.EncodeToString(sum[:])
	for _, dir := range []string{ts.MkAbs(filepath.Join("www", arch())), ts.MkAbs("www")} {
		ts.Check(os.MkdirAll(dir, 0o755))
		ts.Check(os.WriteFile(filepath.Join(dir, name), packed.Bytes(), 0o644))
		ts.Check(os.WriteFile(filepath.Join(dir, name+".md5"), []byte(digest+"  "+name+"\n"), 0o644))
	}
	ts.Setenv("MD5", digest)
}

func sample(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "sample NAME DIR")
	from := filepath.Join(ts.Getenv("ROOT"), "testdata", "agents", args[0])
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), os.DirFS(from)))
}

func pidIn(ts *testscript.TestScript, args []string) int {
	if len(args) != 1 {
		ts.Fatalf("want the name of one file with a process number")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	return pid
}

func sendSignal(ts *testscript.TestScript, args []string, sig syscall.Signal) {
	ts.Check(syscall.Kill(pidIn(ts, args), sig))
}

// gone takes a copy of the number first: a sidecar that ends removes its file.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, "gone PIDFILE")
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	if os.IsNotExist(err) {
		return
	}
	ts.Check(err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	ts.Check(err)
	deadline := time.Now().Add(patience)
	for alive(pid) {
		if time.Now().After(deadline) {
			ts.Fatalf("process %d did not end within %v", pid, patience)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func alive(pid int) bool {
	if cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		return len(cmdline) > 0 // a zombie has none
	}
	return false
}

// killDaemons ends what a failed script left running: processes that say in a
// pid file below dir who they are, and whose working directory is there too.
func killDaemons(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(d.Name(), ".pid") {
			return nil //nolint:nilerr // whatever cannot be read is not ours
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil || pid <= 1 {
			return nil //nolint:nilerr // as above
		}
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if err == nil && strings.HasPrefix(cwd, dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return nil
	})
}

// sqlite changes a database that no server has open, as a clock that was wrong
// has left it.
func sqlite(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, "sqlite FILE STATEMENT")
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	done, err := db.Exec(args[1])
	ts.Check(err)
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		ts.Fatalf("%s changed %d rows: %v", args[1], n, err)
	}
}
