package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestAPersonLogsInAtThePage with a name and a password, sees their session, is
// named, and is out when an admin ends it.
func TestAPersonLogsInAtThePage(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED browser test: -short")
	}
	t.Parallel()
	s := newStage(t)
	b := newBrowser(s)
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte("correct horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("user", "create", "anna", "--role", "operator", "--password-file", password)

	// The name is asked once more only where it is not there already.
	try := func(name, given string) {
		b.do("log in", chromedp.SendKeys(css(`input[name=name]`), name), chromedp.SendKeys(css(`input[name=password]`), given+kb.Enter))
	}
	b.do("the login page", b.open("/"))
	try("anna", "wrong horse")
	b.shows("the name or the password is wrong")
	try("", "correct horse")
	b.shows("anna (operator)")

	b.do("settings", b.open("/settings"))
	b.shows("this one")
	b.do("end it", chromedp.Click(css(`a[aria-label="End the session of anna"]`)))
	b.shows("End the session of anna?")
	b.do("yes", chromedp.Click(css(`form button.danger`)))
	b.shows("Or with a token")

	try("anna", "correct horse")
	b.shows("anna (operator)")
	s.must("user", "remove", "anna")
	b.do("hosts", b.open("/hosts"))
	b.shows("Or with a token")
}
