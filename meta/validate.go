package meta

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/internal/username"
)

var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$`)

// ValidName reports whether s may name an agent or a version: it becomes a
// directory name, so the rule leaves no room for paths.
func ValidName(s string) bool { return nameRule.MatchString(s) }

// Validate checks one agent of a reply. The error names the field, what is
// wrong with it and what would be right; the other agents of the reply are
// unaffected by it.
func (a DesiredAgent) Validate() error {
	if !ValidName(a.Name) {
		return fmt.Errorf("name %q is not allowed: want %s", printable.Clip(a.Name), nameRule)
	}
	switch a.Cmd {
	case CmdNone, CmdStart, CmdStop:
	default:
		return fmt.Errorf("cmd %q is not known: want %q or %q", printable.Clip(a.Cmd), CmdStart, CmdStop)
	}
	if !ValidName(a.Version) && (a.Version != "" || a.Cmd == CmdStart) {
		return fmt.Errorf("version %q is not allowed: want %s", printable.Clip(a.Version), nameRule)
	}
	if a.WorkDir != "" && !validDir(a.WorkDir) {
		return fmt.Errorf("workDir %q is not allowed: want an absolute, clean path such as /opt/agents", printable.Clip(a.WorkDir))
	}
	if a.RunUser != "" && !username.Valid(a.RunUser) {
		return fmt.Errorf("runUser %q is not a user name%s", printable.Clip(a.RunUser), numberHint(a.RunUser))
	}
	if err := a.validateSources(); err != nil {
		return err
	}
	if err := a.validateMirrors(); err != nil {
		return err
	}
	if a.Size < 0 || a.Probation < 0 || a.Keep < 0 {
		return fmt.Errorf("size, probation and keep must not be negative: got %d, %d, %d", a.Size, a.Probation, a.Keep)
	}
	return nil
}

func (a DesiredAgent) validateSources() error {
	if a.Tarball != "" && !isHTTP(a.Tarball) {
		return fmt.Errorf("tarball %q is not an http or https URL", printable.Clip(RedactURL(a.Tarball)))
	}
	if a.MD5 != "" && !isHex(a.MD5, 32) && !isHTTP(a.MD5) {
		return fmt.Errorf("md5 %q is neither 32 hex digits nor an http or https URL", printable.Clip(RedactURL(a.MD5)))
	}
	if a.SHA256 != "" && !isHex(a.SHA256, 64) {
		return fmt.Errorf("sha256 %q is not 64 hex digits", printable.Clip(a.SHA256))
	}
	if a.ConfigFileName == "" {
		return nil
	}
	if !ValidName(a.ConfigFileName) {
		return fmt.Errorf("configFileName %q is not a plain file name", printable.Clip(a.ConfigFileName))
	}
	if a.ConfigFileName == "control" {
		return fmt.Errorf("configFileName %q would replace the agent's control script", a.ConfigFileName)
	}
	if a.ConfigRemoteURL != "" && !isHTTP(a.ConfigRemoteURL) {
		return fmt.Errorf("configRemoteUrl %q is not an http or https URL", printable.Clip(RedactURL(a.ConfigRemoteURL)))
	}
	return nil
}

// validDir also refuses the root itself: an agent's directory is made below.
func validDir(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && p != "/" && len(p) <= 1024 && !strings.ContainsAny(p, "\x00\n\r")
}

// numberHint is for who gives a uid: the same number is another user elsewhere.
func numberHint(user string) string {
	if _, err := strconv.Atoi(user); err == nil {
		return ": it is a number; give the user's name"
	}
	return ""
}

func isHTTP(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && len(s) <= 2048
}

// MaxHostname is how long the name of a host may be, in bytes.
const MaxHostname = 253

// HostnameHelp says what [ValidHostname] takes.
const HostnameHelp = "want up to 253 letters, digits and . _ - : @ +"

// ValidHostname reports whether a host may have that name. It leaves out what
// would need escaping in an address, a page or a shell.
func ValidHostname(s string) bool {
	if len(s) > MaxHostname || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-:@+", r) {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}

var archRule = regexp.MustCompile(`^[a-z0-9]{1,16}_[a-z0-9]{1,16}$`)

// ValidArch reports whether s looks like an arch: {GOOS}_{GOARCH}, such as
// linux_amd64.
func ValidArch(s string) bool { return archRule.MatchString(s) }
