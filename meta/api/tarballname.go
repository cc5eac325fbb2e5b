package api

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
)

// Naming is what a tarball is published as. What is empty is not said.
type Naming struct {
	Agent, Version, Arch string
}

// AmbiguousName is a file name that can be read in several ways, or in none.
type AmbiguousName struct {
	File     string
	Readings []Naming
}

// Error says what the name could mean.
func (e *AmbiguousName) Error() string {
	if len(e.Readings) == 0 {
		return "cannot tell agent and version from the name " + e.File
	}
	var ways []string
	for _, r := range e.Readings {
		ways = append(ways, r.Agent+" "+r.Version)
	}
	return fmt.Sprintf("the name %s can be read in several ways: %s", e.File, strings.Join(ways, ", or "))
}

// Complete adds to what is said what a file's path says of itself:
// {agent}-{version}.tar.gz, with an arch behind it or in a directory of that
// name. Only what can be read in one way is read: in several ways, only an
// agent that known reports decides. Its error is an [*AmbiguousName], an
// [*Error] when the file's arch is another than what is said, or known's own.
func (said Naming) Complete(file string, known func(agent string) (bool, error)) (Naming, error) {
	dir, base := path.Split(file)
	name, err := said.completeArch(base, path.Base(dir))
	if err != nil || name.Agent != "" && name.Version != "" {
		return name, err
	}
	stem := stemOf(base)
	if arch, at, end := archIn(stem); arch != "" {
		if end < len(stem) { // in the middle: is it a part of the agent's name?
			return name, &AmbiguousName{File: base, Readings: []Naming{{strings.Trim(stem[:at], "._-"), strings.Trim(stem[end:], "._-"), arch}}}
		}
		stem = stem[:at]
	}
	if rest, ok := strings.CutPrefix(stem, name.Agent+"-"); ok && name.Agent != "" && meta.ValidName(rest) {
		name.Version = rest
		return name, nil
	}
	if rest, ok := strings.CutSuffix(stem, "-"+name.Version); ok && name.Version != "" && meta.ValidName(rest) {
		name.Agent = rest
		return name, nil
	}
	read, err := chooseReading(base, readingsOf(stem, name.Arch), known)
	if err != nil {
		return name, err
	}
	name.Agent, name.Version = cmp.Or(name.Agent, read.Agent), cmp.Or(name.Version, read.Version)
	return name, nil
}

// completeArch adds the arch that the file's name, or else its directory's,
// gives, and refuses to take a file for another than its name says.
func (said Naming) completeArch(base, dir string) (Naming, error) {
	named, _, _ := archIn(stemOf(base))
	if !KnownArch(dir) {
		dir = ""
	}
	other, where := said.Arch, "you say"
	if other == "" {
		other, where = dir, "its directory says"
	}
	if named != "" && other != "" && named != other {
		return said, &Error{
			Kind: KindInvalid, Field: "arch", Message: fmt.Sprintf("the name %s says %s, and %s %s", base, named, where, other),
			Hint: "a host of another arch cannot run it; if the name is wrong, rename the file",
		}
	}
	for _, arch := range []string{named, dir} {
		if said.Arch == "" {
			said.Arch = arch
		}
	}
	return said, nil
}

func stemOf(base string) string {
	for _, suffix := range []string{".tar.gz", ".tgz"} {
		base = strings.TrimSuffix(base, suffix)
	}
	return base
}

// reading is one way to read a name.
type reading struct {
	Naming
	numbered bool // its version begins as versions do: 1.0, v1.0
}

var numberedRule = regexp.MustCompile(`^v?[0-9]`)

// readingsOf are the ways to cut {agent}-{version} at a dash.
func readingsOf(stem, arch string) []reading {
	var all []reading
	for i := range len(stem) {
		agent, version := stem[:i], stem[min(i+1, len(stem)):]
		if stem[i] == '-' && meta.ValidName(agent) && meta.ValidName(version) {
			all = append(all, reading{Naming{agent, version, arch}, numberedRule.MatchString(version)})
		}
	}
	return all
}

// chooseReading takes the only way that makes sense. A version that begins with a
// number makes more sense than one that does not; among several such only an
// agent that exists decides.
func chooseReading(base string, all []reading, known func(string) (bool, error)) (Naming, error) {
	var numbered, ours []reading
	for _, r := range all {
		exists, err := known(r.Agent)
		if err != nil {
			return Naming{}, err
		}
		if exists {
			ours = append(ours, r)
		}
		if r.numbered {
			numbered = append(numbered, r)
		}
	}
	both := slices.DeleteFunc(slices.Clone(ours), func(r reading) bool { return !r.numbered })
	switch {
	case len(both) == 1:
		return both[0].Naming, nil
	case len(ours) == 0 && len(numbered) == 1:
		return numbered[0].Naming, nil
	case len(ours) == 1 && len(numbered) == 0:
		return ours[0].Naming, nil
	}
	refused := &AmbiguousName{File: base}
	for i, r := range all {
		if r.numbered || slices.Contains(ours, r) || i == 0 && len(numbered) > 0 {
			refused.Readings = append(refused.Readings, r.Naming)
		}
	}
	return Naming{}, refused
}

// The systems and machines as build tools spell them in file names.
var (
	systemNames  = map[string]string{"macos": "darwin", "osx": "darwin"}
	machineNames = map[string]string{
		"x86_64": "amd64", "x64": "amd64", "aarch64": "arm64", "armv8": "arm64", "i386": "386", "i686": "386",
		"armv6": "arm", "armv7": "arm", "armv7l": "arm", "armhf": "arm", "loongarch64": "loong64",
	}
	archRuleIn = regexp.MustCompile(`(?i)(?:^|[._-])([a-z0-9]+)[._-](x86_64|[a-z0-9]+)`)
	machineEnd = regexp.MustCompile(`(?i)[._-](x86_64|amd64|aarch64|arm64|i386|i686|armhf|armv[67]l?|riscv64|s390x|ppc64le|loong64|loongarch64)$`)
)

// archIn finds the arch in a name without its suffix, and from where to where
// it stands with the separator before it; a machine alone at the end is
// Linux's.
func archIn(stem string) (arch string, at, end int) {
	for from := 0; from < len(stem); {
		m := archRuleIn.FindStringSubmatchIndex(stem[from:])
		if m == nil {
			break
		}
		system, machine := strings.ToLower(stem[from+m[2]:from+m[3]]), strings.ToLower(stem[from+m[4]:from+m[5]])
		if alias := systemNames[system]; alias != "" {
			system = alias
		}
		if alias := machineNames[machine]; alias != "" {
			machine = alias
		}
		whole := from+m[1] == len(stem) || strings.ContainsRune("._-", rune(stem[from+m[1]]))
		if whole && KnownArch(system+"_"+machine) {
			return system + "_" + machine, from + m[0], from + m[1]
		}
		from += m[3] // the separator after what was taken for a system
	}
	if m := machineEnd.FindStringSubmatchIndex(stem); m != nil {
		machine := strings.ToLower(stem[m[2]:m[3]])
		if alias := machineNames[machine]; alias != "" {
			machine = alias
		}
		return "linux_" + machine, m[0], len(stem)
	}
	return "", 0, 0
}
