package api

import (
	"slices"
	"strings"
)

// machinesOf are the systems that sidecars are built for, each with the
// machines that Go knows for it.
var machinesOf = map[string][]string{
	"aix": {"ppc64"}, "android": {"386", "amd64", "arm", "arm64"}, "darwin": {"386", "amd64", "arm64"}, "dragonfly": {"amd64"},
	"freebsd": {"386", "amd64", "arm", "arm64", "riscv64"}, "illumos": {"amd64"},
	"linux": {
		"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "sw64",
	},
	"netbsd": {"386", "amd64", "arm", "arm64"}, "openbsd": {"386", "amd64", "arm", "arm64", "ppc64", "riscv64"}, "solaris": {"amd64"},
	"windows": {"386", "amd64", "arm", "arm64"},
}

// KnownArch reports whether s is a {GOOS}_{GOARCH} that exists. A directory
// called my_build looks like one and is none.
func KnownArch(s string) bool {
	system, machine, ok := strings.Cut(s, "_")
	return ok && slices.Contains(machinesOf[system], machine)
}

// KnownArches lists them, sorted.
func KnownArches() []string {
	var all []string
	for system, machines := range machinesOf {
		for _, m := range machines {
			all = append(all, system+"_"+m)
		}
	}
	slices.Sort(all)
	return all
}
