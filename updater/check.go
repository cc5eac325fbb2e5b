package updater

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ops-updater/ops-updater/internal/host/runas"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/updater/config"
)

// Verdict is how bad a [Finding] is.
type Verdict string

// The verdicts. Only VerdictFail keeps the sidecar from starting.
const (
	VerdictOK   Verdict = "ok"
	VerdictWarn Verdict = "warning"
	VerdictFail Verdict = "error"
)

// Finding is the outcome of one start-up check.
type Finding struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail"`
	Mend    string  `json:"mend,omitempty"` // what to do about it
}

// Times that a check may take, and how wrong a clock may be.
const (
	probeTimeout  = 5 * time.Second // for each server
	sudoTimeout   = 15 * time.Second
	socketTimeout = 2 * time.Second // for the sidecar that runs
	maxClockSkew  = 5 * time.Minute
)

// varSpace is what the journal and the log need to go on for a while.
const varSpace = 1 << 20

// Check verifies what is needed on this host before the sidecar starts. It
// changes nothing: missing directories are made by the start.
func Check(ctx context.Context, c config.Config) []Finding {
	findings := []Finding{{Name: "configuration", Verdict: VerdictOK, Detail: c.Path}}
	findings = append(findings, checkDir("var_dir", c.VarDir, varSpace), checkDir("work_dir", c.WorkDir, c.Reserve), checkShell())
	for _, w := range c.Warnings() {
		findings = append(findings, Finding{Name: "configuration", Verdict: VerdictWarn, Detail: w})
	}
	findings = append(findings, checkTrust(ctx, c)...)
	findings = append(findings, checkVouched(c)...)
	findings = append(findings, checkWishes(c)...)
	findings = append(findings, checkTakeover(c.VarDir)...)
	findings = append(findings, checkAside(c.VarDir)...)
	findings = append(findings, checkPlaces(ctx, c)...)
	findings = append(findings, checkRunnable(ctx, c)...)
	findings = append(findings, checkUsers(ctx, c)...)
	return append(findings, checkServers(ctx, c)...)
}

// Failed reports whether one of findings keeps the sidecar from starting.
func Failed(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Verdict == VerdictFail })
}

// checkDir looks whether we may write to dir, or make it, and whether space is free
// there, in bytes. It writes nothing: who asks leaves no trace.
func checkDir(key, dir string, space int64) Finding {
	f := Finding{Name: key, Verdict: VerdictOK, Detail: dir}
	at, err := writableAbove(dir)
	switch {
	case err != nil:
		f.Verdict, f.Detail = VerdictFail, fmt.Sprintf("cannot write to %s: %v", dir, plainPathError(err))
		f.Mend = fmt.Sprintf("let %s own it (chown), mount it writable, or set %s to another directory", currentUser(), key)
	case at != dir:
		f.Detail += " (made at the start)"
	}
	if why := lackOfSpace(at, space); err == nil && why != "" {
		f.Verdict, f.Detail = VerdictWarn, fmt.Sprintf("too little is free for %s: %s", dir, why)
		f.Mend = "free some; until then agents are started, and none is updated"
	}
	return f
}

// lackOfSpace is empty where the filesystem of dir has the bytes, and room for files.
func lackOfSpace(dir string, space int64) string {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return ""
	}
	free := int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // the types differ between platforms
	switch {
	case free < space:
		return fmt.Sprintf("%s of at least %s", printable.Bytes(free), printable.Bytes(space))
	case st.Files > 0 && st.Ffree == 0: // a filesystem without inodes counts none
		return "no more files can be made, its inodes are used up"
	}
	return ""
}

// writableAbove is dir, or the directory above it that is there, in which it
// can be made.
func writableAbove(dir string) (string, error) {
	fi, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir):
		return writableAbove(filepath.Dir(dir))
	case err != nil:
		return dir, err
	case !fi.IsDir():
		return dir, unix.ENOTDIR
	}
	return dir, unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}

func plainPathError(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

func checkShell() Finding {
	sh, err := exec.LookPath("sh")
	if err != nil {
		return Finding{
			Name: "shell", Verdict: VerdictFail, Detail: "no sh was found: agents' control scripts need one",
			Mend: "install a POSIX shell as /bin/sh",
		}
	}
	return Finding{Name: "shell", Verdict: VerdictOK, Detail: sh}
}

// checkUsers tries to become every user that the last reply names. One that
// cannot be had is a warning: it stops its agents, which the heartbeat reports,
// and must not stop the others. When sudo leaves nobody at all to run agents
// as, the sidecar could do nothing: that is an error.
func checkUsers(ctx context.Context, c config.Config) []Finding {
	var findings []Finding
	wishes := lastWishes(c)
	var users []string
	for _, w := range wishes {
		if w.Refused == "" && w.Place.RunUser != currentUser() {
			users = append(users, w.Place.RunUser)
		}
	}
	slices.Sort(users)
	for _, u := range slices.Compact(users) {
		findings = append(findings, checkUser(ctx, u, c.CreateUsers))
	}
	refused := func(f Finding) bool { return f.Verdict == VerdictFail }
	if len(users) < len(wishes) || !allOf(findings, refused) {
		for i := range findings {
			if refused(findings[i]) {
				findings[i].Verdict = VerdictWarn
			}
		}
	}
	return findings
}

func allOf[T any](s []T, is func(T) bool) bool {
	return !slices.ContainsFunc(s, func(v T) bool { return !is(v) })
}

func checkUser(ctx context.Context, name string, create bool) Finding {
	f := Finding{Name: "user " + name, Verdict: VerdictOK, Detail: "agents can be run as " + name}
	ctx, cancel := context.WithTimeout(ctx, sudoTimeout)
	defer cancel()
	err := tryUser(ctx, name)
	switch {
	case err == nil:
	case create && errors.Is(err, runas.ErrUnknownUser):
		f.Detail = "does not exist yet, create_users makes it"
	case errors.Is(err, runas.ErrUnknownUser):
		f.Verdict, f.Detail = VerdictWarn, err.Error() // the server may have misspelt it
	default:
		f.Verdict, f.Detail = VerdictFail, err.Error()
	}
	return f
}

// tryUser runs nothing as name, to see whether that can be done.
func tryUser(ctx context.Context, name string) error {
	p, err := runas.Start(ctx, runas.Command{User: name, Path: "/bin/sh", Args: []string{"-c", ":"}})
	if err != nil {
		return err
	}
	_ = p.Stdin.Close()
	return p.Wait()
}

// checkServers asks every server for a sign of life and compares clocks. A
// server that is away keeps nothing from starting: the last reply holds.
func checkServers(ctx context.Context, c config.Config) []Finding {
	client, err := newClient(c, nil)
	if err != nil {
		return []Finding{{Name: "server", Verdict: VerdictFail, Detail: err.Error(), Mend: "correct the TLS keys of " + c.Path}}
	}
	defer client.Close()
	var findings []Finding
	for _, p := range client.Probe(ctx, c.Hostname, probeTimeout) {
		if p.Err != nil {
			findings = append(findings, Finding{
				Name: "server", Verdict: VerdictWarn, Detail: fmt.Sprintf("%s does not answer: %v", p.Server, p.Err),
				Mend: adviseUnanswered(p.Err) + "; until it answers the last reply holds",
			})
			continue
		}
		if strings.Contains(p.Message, "HTTP request to an HTTPS server") {
			findings = append(findings, Finding{
				Name: "server", Verdict: VerdictWarn, Detail: p.Server + " speaks TLS, and is asked without it",
				Mend: "begin server with https:// in " + c.Path,
			})
			continue
		}
		findings = append(findings, Finding{Name: "server", Verdict: VerdictOK, Detail: p.Server + " answers"})
		findings = append(findings, checkCredential(c, p)...)
		if !p.Date.IsZero() {
			findings = append(findings, checkClock(p.Server, p.Date, time.Now()))
		}
	}
	return findings
}

// adviseUnanswered is what to look at when a server did not answer with err.
func adviseUnanswered(err error) string {
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &cert):
		return "have ca_file name the authority that vouches for it, and server the name that its certificate is for; where it has expired, look at the clocks"
	case strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return "it speaks no TLS there: begin server with http://, or turn TLS on"
	}
	return "check the address, a firewall, or the proxy key"
}

func checkClock(server string, theirs, ours time.Time) Finding {
	skew := ours.Sub(theirs)
	if skew.Abs() <= maxClockSkew {
		return Finding{Name: "clock", Verdict: VerdictOK, Detail: "agrees with " + server}
	}
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return Finding{
		Name: "clock", Verdict: VerdictWarn,
		Detail: fmt.Sprintf("this host's clock is %v %s that of %s", skew.Abs().Round(time.Second), direction, server),
		Mend:   "let NTP set it: certificates, holds and quarantines depend on it",
	}
}
