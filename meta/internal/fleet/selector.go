package fleet

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Limits on one selector. They keep a rule that somebody typed from costing
// every heartbeat; RE2 itself runs in time linear to the name.
const (
	maxPatterns    = 10000 // of one kind
	maxPatternSize = 1024  // bytes
	maxRegexpNodes = 2000  // after repetition is unrolled
	maxAllNodes    = 20000 // of all regular expressions of a selector together
)

// Facts are what a selector can see of a host.
type Facts struct {
	Name   string
	IP     string
	Arch   string // {GOOS}_{GOARCH}
	Labels map[string]string
}

// Selector is an [api.Selector] ready to match.
type Selector struct {
	hosts    map[string]bool
	prefixes []string
	globs    []string
	regexps  []*regexp.Regexp
	nets     []netip.Prefix
	arches   []string
	labels   map[string]string
}

// CompileSelector checks s and makes it ready to match. The error is an
// [api.Error] of kind invalid whose Field is the place in the selector, such
// as regexps[2].
func CompileSelector(s api.Selector) (*Selector, error) {
	c := &Selector{prefixes: s.Prefixes, globs: s.Globs, arches: s.Arches, labels: s.Labels}
	steps := []func(api.Selector) error{checkSizes, checkPlain, c.compileGlobs, c.compileRegexps, c.compileNets}
	for _, step := range steps {
		if err := step(s); err != nil {
			return nil, err
		}
	}
	c.hosts = make(map[string]bool, len(s.Hosts))
	for _, h := range s.Hosts {
		c.hosts[h] = true
	}
	return c, nil
}

// Match reports whether the selector picks a host: every kind that is given
// must match, and a selector without any matches nothing.
func (c *Selector) Match(f Facts) bool {
	if c.matchesNone() {
		return false
	}
	return (!c.namesHosts() || c.matchName(f.Name)) &&
		(len(c.nets) == 0 || c.matchIP(f.IP)) &&
		(len(c.arches) == 0 || slices.Contains(c.arches, f.Arch)) &&
		c.matchLabels(f.Labels)
}

func (c *Selector) matchesNone() bool {
	return !c.namesHosts() && len(c.nets) == 0 && len(c.arches) == 0 && len(c.labels) == 0
}

func (c *Selector) namesHosts() bool {
	return len(c.hosts) > 0 || len(c.prefixes) > 0 || len(c.globs) > 0 || len(c.regexps) > 0
}

func (c *Selector) matchName(name string) bool {
	if c.hosts[name] {
		return true
	}
	for _, p := range c.prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	for _, g := range c.globs {
		if ok, err := path.Match(g, name); ok && err == nil {
			return true
		}
	}
	for _, r := range c.regexps {
		if r.MatchString(name) {
			return true
		}
	}
	return false
}

func (c *Selector) matchIP(ip string) bool {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(c.nets, func(n netip.Prefix) bool { return n.Contains(addr) })
}

func (c *Selector) matchLabels(labels map[string]string) bool {
	for k, want := range c.labels {
		if got, ok := labels[k]; !ok || got != want {
			return false
		}
	}
	return true
}

func (c *Selector) compileGlobs(s api.Selector) error {
	for i, g := range s.Globs {
		if _, err := path.Match(g, "x"); err != nil {
			return badSelector("globs", i, "%q is not a glob: want *, ?, [a-z] and plain characters", g)
		}
	}
	return nil
}

func (c *Selector) compileRegexps(s api.Selector) error {
	all := 0
	for i, expr := range s.Regexps {
		re, nodes, err := compileAnchored(expr)
		if err != nil {
			return badSelector("regexps", i, "%q is not a regular expression (RE2): %v", expr, err)
		}
		if all += nodes; all > maxAllNodes {
			return badSelector("regexps", i, "with those before it needs more than %d steps: use fewer, or prefixes, globs and labels", maxAllNodes)
		}
		c.regexps = append(c.regexps, re)
	}
	return nil
}

// compileAnchored also refuses what RE2 accepts but would be slow on every
// heartbeat: large repetitions are unrolled into as many nodes.
func compileAnchored(expr string) (re *regexp.Regexp, nodes int, err error) {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, 0, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, 0, err
	}
	if len(prog.Inst) > maxRegexpNodes {
		return nil, 0, fmt.Errorf("it needs %d steps, more than %d: make its repetitions smaller", len(prog.Inst), maxRegexpNodes)
	}
	re, err = regexp.Compile(`\A(?:` + expr + `)\z`)
	return re, len(prog.Inst), err
}

func (c *Selector) compileNets(s api.Selector) error {
	for i, text := range s.CIDRs {
		n, err := parseNet(text)
		if err != nil {
			return badSelector("cidrs", i, "%q is neither an address nor a network such as 10.1.0.0/16", text)
		}
		c.nets = append(c.nets, n)
	}
	return nil
}

func parseNet(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		return p.Masked(), err
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// checkPlain covers the kinds that need no compiling. An empty prefix would
// match every host, which is what everyone is for.
func checkPlain(s api.Selector) error {
	plain := []struct {
		field  string
		values []string
	}{{"hosts", s.Hosts}, {"prefixes", s.Prefixes}, {"arches", s.Arches}}
	for _, p := range plain {
		for i, v := range p.values {
			if strings.TrimSpace(v) != v || v == "" {
				return badSelector(p.field, i, "%q is empty or has blanks around it", v)
			}
		}
	}
	for i, a := range s.Arches {
		if goos, goarch, ok := strings.Cut(a, "_"); !ok || goos == "" || goarch == "" {
			return badSelector("arches", i, "%q is not an arch: want {os}_{arch} such as linux_amd64", a)
		}
	}
	for k := range s.Labels {
		if k == "" || len(k) > maxPatternSize {
			return &api.Error{Kind: api.KindInvalid, Field: "labels", Message: "a label has no name, or one that is too long"}
		}
	}
	return nil
}

func checkSizes(s api.Selector) error {
	kinds := []struct {
		field  string
		values []string
	}{{"hosts", s.Hosts}, {"prefixes", s.Prefixes}, {"globs", s.Globs}, {"regexps", s.Regexps}, {"cidrs", s.CIDRs}, {"arches", s.Arches}}
	for _, k := range kinds {
		if len(k.values) > maxPatterns {
			return badSelector(k.field, maxPatterns, "there are more than %d of them", maxPatterns)
		}
		for i, v := range k.values {
			if len(v) > maxPatternSize {
				return badSelector(k.field, i, "it is longer than %d bytes", maxPatternSize)
			}
		}
	}
	return nil
}

func badSelector(field string, i int, format string, args ...any) error {
	field = fmt.Sprintf("%s[%d]", field, i)
	err := api.InvalidField(field, "selector %s: %s", field, fmt.Sprintf(format, args...))
	err.Hint = "ops-meta explain HOST shows which groups a host is in"
	return err
}
