package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// buildProvider is the program of the OpenID Connect provider that tests log in at.
func buildProvider(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "oidc-provider")
	build := exec.Command("go", "-C", "scripts/oidc-provider", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the login provider cannot be built: %v\n%s", err, out)
		}
		t.Skipf("NOT TESTED WITH A LOGIN PROVIDER, which cannot be built (no network?): %v\n%s", err, out)
	}
	return program
}

// newProviderStage is a stage whose ops-meta lets in the people of a provider, and
// what starts that.
func newProviderStage(t *testing.T) (s *stage, startProvider func()) {
	t.Helper()
	program := buildProvider(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret-for-tests\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := freeAddr(t)
	s = newStage(t, "--oidc-issuer", "http://"+at+"/", "--oidc-client-id", "ops-meta", "--oidc-client-secret-file", secret,
		"--oidc-role", "ops-admins=admin", "--oidc-role", "team-a=operator:falcon-*@canary")
	return s, func() {
		cmd := exec.Command(program, at, "http://"+s.addr+"/login/callback")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		s.eventually("an answer of the provider", func() bool {
			c, err := net.Dial("tcp", at)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
}

// atProvider fills in the form of the provider.
func (b browser) atProvider(name string) {
	b.t.Helper()
	b.shows("Username:")
	b.do("log in at the provider", chromedp.SendKeys(css(`input[name=username]`), name), chromedp.SendKeys(css(`input[name=password]`), "verysecure"+kb.Enter))
}

// TestAPersonLogsInThroughAProvider at the page and at the command line, with the role
// that their groups give them; while it is down everybody else goes on.
func TestAPersonLogsInThroughAProvider(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	s, startProvider := newProviderStage(t)
	b := newBrowser(s)
	through := func() { b.do("to the provider", chromedp.Click(css(`#provider`))) }

	b.do("the login page", b.open("/rollouts"))
	b.shows("Log in with 127.0.0.1")
	b.picture("login-provider")
	through()
	b.shows("does not answer as it should, which logs nobody in; users and tokens of this server go on")
	b.do("with a token", chromedp.SendKeys(css(`input[name=token]`), s.token+kb.Enter))
	b.shows("admin (admin)")
	b.do("log out", chromedp.Click(css(`form[action="/logout"] button`)))
	b.shows("Or with a token")

	startProvider()
	s.eventually("the provider is asked again", func() bool {
		b.do("the login page", b.open("/rollouts"))
		through()
		s.eventually("an answer", func() bool { // either way
			return strings.Contains(b.text(), "does not answer") || strings.Contains(b.text(), "Username:")
		})
		return strings.Contains(b.text(), "Username:")
	})
	b.atProvider("tim")
	b.shows("tim@example.com (operator of falcon-*@canary)")
	b.shows("Rollouts")
	// The session counts for what comes next, too.
	b.do("settings", b.open("/settings"))
	b.shows("You are tim@example.com")
	b.shows("this one")
	b.do("a group that they may not write", b.open("/groups"))
	b.shows("Groups")
	if strings.Contains(b.text(), "New group") {
		t.Error("the page offers what no remit covers")
	}
	b.do("log out", chromedp.Click(css(`form[action="/logout"] button`)))
	b.shows("Or with a token")

	through()
	b.atProvider("eve")
	b.shows("eve@example.com is in no group that may do anything here: their groups are staff.")
	b.do("once more", b.open("/login"))
	through()
	b.atProvider("anna")
	b.shows("anna@example.com (admin)")

	// What came back once is worth nothing, and neither is what began elsewhere.
	b.do("a code of another browser", b.open("/login/callback?code=x&state=y"))
	b.shows("this login was begun elsewhere, or too long ago")

	for _, c := range []struct{ name, says string }{
		{"tim", `logged in to .* as tim@example\.com \(operator of falcon-\*@canary\), context sso`},
		{"eve", `eve@example\.com is in no group that may do anything here`},
	} {
		config := t.TempDir()
		run := func(args ...string) *exec.Cmd {
			cmd := exec.Command(filepath.Join(s.bin, "ops-meta"), args...)
			cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+config, "OPS_META_SERVER=", "OPS_META_TOKEN=")
			return cmd
		}
		var out lockedBuffer
		cmd := run("login", "http://"+s.addr, "--sso", "--name", "sso")
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
		var to string
		s.eventually("the address of a login", func() bool {
			to = regexp.MustCompile(`http://\S+/login/provider\?\S+`).FindString(out.String())
			return to != ""
		})
		b.do("the address that the command line says", chromedp.Navigate(to))
		b.atProvider(c.name)
		if c.name == "tim" {
			b.shows("asks to be logged in as tim@example.com")
			b.do("log it in", chromedp.Click(css("#program")))
			b.shows("You are logged in: close this window")
		} else {
			b.shows("You are not logged in: the command line says why")
		}
		<-ended
		if !regexp.MustCompile(c.says).MatchString(out.String()) {
			t.Errorf("%s: the command line says %q, want %q", c.name, out.String(), c.says)
		}
		if c.name != "tim" {
			continue
		}
		who, err := run("whoami").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(who), "tim@example.com, operator of falcon-*@canary, through http://127.0.0.1:") {
			t.Errorf("whoami: %s, %v", who, err)
		}
		if out, err := run("session", "password").CombinedOutput(); err == nil || !strings.Contains(string(out), "is not kept here") {
			t.Errorf("a password of the provider's: %s, %v", out, err)
		}
		if out, err := run("logout").CombinedOutput(); err != nil {
			t.Errorf("logout: %s, %v", out, err)
		}
	}
}

// lockedBuffer is written by a program while a test reads it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
