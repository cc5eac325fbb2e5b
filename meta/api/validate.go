package api

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
)

// fieldErr says which field of an object breaks which rule. Field is spelled as
// in JSON, with the way to it: selector.regexps[0].
func fieldErr(field, format string, args ...any) error {
	return &Error{Kind: KindInvalid, Field: field, Message: field + ": " + fmt.Sprintf(format, args...)}
}

// fieldBelow puts the field of err below another one.
func fieldBelow(field string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return fieldErr(field+"."+e.Field, "%s", strings.TrimPrefix(e.Message, e.Field+": "))
	}
	return err
}

const nameHelp = "want letters, digits and . _ + - only, at most 128, starting with a letter or digit"

func validName(field, s string) error {
	if s == "" {
		return fieldErr(field, "is missing")
	}
	if !meta.ValidName(s) {
		return fieldErr(field, "%q is not allowed: %s", printable.Clip(s), nameHelp)
	}
	return nil
}

// overrides are the fields that agents and assignments share.
type overrides struct {
	runUser, workDir, configFileName, configRemoteURL string
	probation, keep                                   int
	mirrors                                           []string
}

// validate asks the wire contract about one field at a time, so that what is
// accepted here is never refused by a host.
func (o overrides) validate() error {
	wire := func(field string, a meta.DesiredAgent) error {
		a.Name = "x"
		if err := a.Validate(); err != nil {
			return fieldErr(field, "%s", strings.TrimPrefix(err.Error(), field+" "))
		}
		return nil
	}
	return cmp.Or(
		wire("runUser", meta.DesiredAgent{RunUser: o.runUser}),
		wire("workDir", meta.DesiredAgent{WorkDir: o.workDir}),
		wire("configFileName", meta.DesiredAgent{ConfigFileName: o.configFileName}),
		wire("configRemoteUrl", meta.DesiredAgent{ConfigFileName: "x", ConfigRemoteURL: o.configRemoteURL}),
		refuseRedacted("configRemoteUrl", o.configRemoteURL),
		notNegative("probation", o.probation),
		notNegative("keep", o.keep),
		o.validateMirrors(),
	)
}

func (o overrides) validateMirrors() error {
	for _, m := range o.mirrors {
		if m == "" || strings.ContainsAny(m, "\r\n") {
			return fieldErr("mirrors", "a mirror is an http or https URL, not %q", printable.Clip(meta.RedactURL(m)))
		}
		if err := refuseRedacted("mirrors", m); err != nil {
			return err
		}
	}
	a := meta.DesiredAgent{Name: "x", Mirrors: meta.AddressesOf(o.mirrors...)}
	if err := a.Validate(); err != nil {
		return fieldErr("mirrors", "%s", strings.TrimPrefix(err.Error(), "mirrors "))
	}
	return nil
}

// refuseRedacted refuses an address that was copied from where its login is hidden.
func refuseRedacted(field, address string) error {
	if meta.IsRedacted(address) {
		return fieldErr(field, "%q is an address whose login is hidden: a token of the role operator reads the whole one", printable.Clip(address))
	}
	return nil
}

func notNegative(field string, n int) error {
	if n < 0 {
		return fieldErr(field, "must not be negative: got %d", n)
	}
	return nil
}

// Validate checks a by itself. The error is
// an [*Error] of KindInvalid with its Field.
func (a Agent) Validate() error {
	err := validName("name", a.Name)
	if err == nil && a.Strategy != "" {
		err = validName("strategy", a.Strategy)
	}
	return cmp.Or(err, overrides{a.RunUser, a.WorkDir, a.ConfigFileName, a.ConfigRemoteURL, a.Probation, a.Keep, a.Mirrors}.validate())
}

// Validate checks g and compiles its selector. The error is
// an [*Error] of KindInvalid with its Field.
func (g Group) Validate() error {
	return cmp.Or(validName("name", g.Name), fieldBelow("selector", g.Selector.Validate()))
}

// Limits of a selector, which is matched against every host.
const (
	maxSelectorEntries = 10_000
	maxSelectorText    = 1024 // characters of one entry
)

// Validate refuses a selector that does not compile or that could match
// nothing. The error is
// an [*Error] of KindInvalid with its Field.
func (s Selector) Validate() error {
	if s.Empty() {
		return fieldErr("hosts", "the selector is empty and would match nothing: give hosts, prefixes, globs, regexps, cidrs, arches or labels")
	}
	return cmp.Or(
		checkEntries("hosts", s.Hosts, validHostName),
		checkEntries("prefixes", s.Prefixes, func(string) error { return nil }),
		checkEntries("globs", s.Globs, func(v string) error { _, err := path.Match(v, ""); return err }),
		checkEntries("regexps", s.Regexps, func(v string) error { _, err := regexp.Compile(v); return err }),
		checkEntries("cidrs", s.CIDRs, validCIDR),
		checkEntries("arches", s.Arches, ValidArch),
		validLabels(s.Labels),
	)
}

// Empty reports whether no kind is given, so that nothing matches.
func (s Selector) Empty() bool {
	return len(s.Hosts)+len(s.Prefixes)+len(s.Globs)+len(s.Regexps)+len(s.CIDRs)+len(s.Arches)+len(s.Labels) == 0
}

// checkEntries applies rule to entries that are neither empty nor too long.
func checkEntries(field string, values []string, rule func(string) error) error {
	if len(values) > maxSelectorEntries {
		return fieldErr(field, "%d entries are too many: at most %d", len(values), maxSelectorEntries)
	}
	for i, v := range values {
		at := fmt.Sprintf("%s[%d]", field, i)
		if v == "" {
			return fieldErr(at, "is empty")
		}
		if len(v) > maxSelectorText {
			return fieldErr(at, "is longer than %d characters", maxSelectorText)
		}
		if err := rule(v); err != nil {
			return fieldErr(at, "%q: %v", printable.Clip(v), err)
		}
	}
	return nil
}

func validHostName(s string) error {
	if len(s) > 253 || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return errors.New("is not a host name")
	}
	return nil
}

func validCIDR(s string) error {
	if _, err := netip.ParseAddr(s); err == nil {
		return nil
	}
	if _, err := netip.ParsePrefix(s); err != nil {
		return errors.New("is neither an address nor a network such as 10.0.0.0/8")
	}
	return nil
}

// ValidArch reports what is wrong with an arch, which must look like
// linux_amd64.
func ValidArch(s string) error {
	if !meta.ValidArch(s) {
		return errors.New("is not an arch such as linux_amd64")
	}
	return nil
}

func validLabels(labels map[string]string) error {
	for k, v := range labels {
		if k == "" || len(k) > 128 || len(v) > maxSelectorText {
			return fieldErr("labels", "%q=%q is empty or too long", printable.Clip(k), printable.Clip(v))
		}
	}
	return nil
}

// Validate checks that the kind and the name fit together. The error is an
// [*Error] of KindInvalid with its Field.
func (s Scope) Validate() error {
	switch s.Kind {
	case ScopeEveryone:
		if s.Name != "" {
			return fieldErr("name", "must be empty when kind is everyone")
		}
		return nil
	case ScopeGroup, ScopeAgent:
		return validName("name", s.Name)
	case ScopeHost:
		if s.Name == "" {
			return fieldErr("name", "is missing")
		}
		if err := validHostName(s.Name); err != nil {
			return fieldErr("name", "%q %v", printable.Clip(s.Name), err)
		}
		return nil
	case "":
		return fieldErr("kind", "is missing")
	}
	return fieldErr("kind", "%q is not known", printable.Clip(string(s.Kind)))
}

// Validate checks a by itself. The error is
// an [*Error] of KindInvalid with its Field.
func (a Assignment) Validate() error {
	if a.Scope.Kind == ScopeAgent {
		return fieldErr("scope.kind", "%q is for holds only", ScopeAgent)
	}
	if a.Cmd != "" && a.Cmd != meta.CmdStart && a.Cmd != meta.CmdStop {
		return fieldErr("cmd", "%q is not known: want start or stop", printable.Clip(a.Cmd))
	}
	return cmp.Or(
		validName("agent", a.Agent),
		fieldBelow("scope", a.Scope.Validate()),
		validName("version", a.Version),
		overrides{a.RunUser, a.WorkDir, a.ConfigFileName, a.ConfigRemoteURL, a.Probation, a.Keep, a.Mirrors}.validate(),
	)
}

// Validate checks h by itself. The error is
// an [*Error] of KindInvalid with its Field.
func (h Hold) Validate() error {
	if h.Scope.Kind == ScopeEveryone {
		return fieldErr("scope.kind", "%q is not for holds: hold a host, a group or an agent", ScopeEveryone)
	}
	if strings.TrimSpace(h.Reason) == "" {
		return fieldErr("reason", "is missing: say why, for anyone who finds the hold")
	}
	return fieldBelow("scope", h.Scope.Validate())
}

// Validate checks s by itself. The error is
// an [*Error] of KindInvalid with its Field.
func (s Strategy) Validate() error {
	if len(s.Stages) == 0 {
		return fieldErr("stages", "is empty: give at least one, such as {percent: 100}")
	}
	if !slices.Contains([]string{"", "pause", "abort", "rollback"}, s.OnFailure) {
		return fieldErr("onFailure", "%q is not known: want pause, abort or rollback", printable.Clip(s.OnFailure))
	}
	if !(s.MaxFailedPct >= 0 && s.MaxFailedPct <= 100) {
		return fieldErr("maxFailedPct", "%v is not between 0 and 100", s.MaxFailedPct)
	}
	for i, stage := range s.Stages {
		if err := stage.Validate(); err != nil {
			return fieldBelow(fmt.Sprintf("stages[%d]", i), err)
		}
	}
	return cmp.Or(
		validName("name", s.Name),
		validateOrder(s.Stages),
		notNegative("maxFailed", s.MaxFailed), notNegative("minSample", s.MinSample),
		notNegative("deadline", s.Deadline), notNegative("maxInFlight", s.MaxInFlight),
		fieldBelow("window", s.Window.Validate()), fieldBelow("rate", s.Rate.Validate()),
	)
}

// Validate checks s by itself. The error is
// an [*Error] of KindInvalid with its Field.
func (s Stage) Validate() error {
	if (s.Count == 0) == (s.Percent == 0) {
		return fieldErr("percent", "give exactly one of count and percent")
	}
	if s.Count == 0 && !(s.Percent > 0 && s.Percent <= 100) {
		return fieldErr("percent", "%v is not above 0 and up to 100", s.Percent)
	}
	var group error
	if s.Group != "" {
		group = validName("group", s.Group)
	}
	return cmp.Or(notNegative("count", s.Count), group,
		notNegative("soak", s.Soak), fieldBelow("window", s.Window.Validate()))
}

var (
	clockRule = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)
	weekDays  = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
)

// Validate checks w, which may be nil. The error is
// an [*Error] of KindInvalid with its Field.
func (w *Window) Validate() error {
	if w == nil {
		return nil
	}
	for i, d := range w.Days {
		if !slices.Contains(weekDays, d) {
			return fieldErr(fmt.Sprintf("days[%d]", i), "%q is not a day: want %s", printable.Clip(d), strings.Join(weekDays, ", "))
		}
	}
	if !clockRule.MatchString(w.From) {
		return fieldErr("from", "%q is not a time such as 09:00", printable.Clip(w.From))
	}
	if !clockRule.MatchString(w.To) {
		return fieldErr("to", "%q is not a time such as 17:30", printable.Clip(w.To))
	}
	if w.From == w.To {
		return fieldErr("to", "is the same as from, so that the window never opens")
	}
	if _, err := time.LoadLocation(w.Zone); err != nil || w.Zone == "Local" {
		return fieldErr("zone", "%q is not a time zone: want a name such as Europe/Berlin, or UTC", printable.Clip(w.Zone))
	}
	return nil
}

// Validate checks r, which may be nil. The error is
// an [*Error] of KindInvalid with its Field.
func (r *RateLimit) Validate() error {
	if r == nil {
		return nil
	}
	if r.Hosts < 1 {
		return fieldErr("hosts", "must be at least 1: got %d", r.Hosts)
	}
	if r.Period < 1 {
		return fieldErr("period", "must be at least 1 second: got %d", r.Period)
	}
	return nil
}

// Validate checks t by itself, without its templates. The error is an
// [*Error] of KindInvalid with its Field.
func (t NotifyTarget) Validate() error {
	switch t.Kind {
	case NotifyWebhook, NotifyChat:
		if u, err := url.Parse(t.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fieldErr("url", "%q is not an http or https URL", printable.Clip(t.URL))
		} else if u.Path == hiddenPath {
			return fieldErr("url", "%q is how a target's address is shown: give the whole one", printable.Clip(t.URL))
		}
		if encoded, ok := strings.CutPrefix(t.Secret, StandardSecretPrefix); ok {
			if _, err := base64.StdEncoding.DecodeString(encoded); err != nil {
				return fieldErr("secret", "begins with %s, and base64 must follow", StandardSecretPrefix)
			}
		}
	case NotifyMail:
		if len(t.Addresses) == 0 {
			return fieldErr("addresses", "is empty: say whom to write to")
		}
		for i, a := range t.Addresses {
			if _, err := mail.ParseAddress(a); err != nil {
				return fieldErr(fmt.Sprintf("addresses[%d]", i), "%q is not a mail address", printable.Clip(a))
			}
		}
	default:
		return fieldErr("kind", "%q is not known: want webhook, chat or mail", printable.Clip(t.Kind))
	}
	return validName("name", t.Name)
}
