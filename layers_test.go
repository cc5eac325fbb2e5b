package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ops-updater/ops-updater"

// layers lists, for every package of the module, which of its packages it may
// import. A package that is not listed fails the test: decide where it belongs
// in the house before it moves in. Siblings never import siblings; the
// composition roots (updater, meta/server) join them.
var layers = map[string][]string{
	"": {"updater/cli", "internal/buildinfo"},

	// Leaves both programs need.
	"internal/atomicfile": {},
	"internal/buildinfo":  {},
	"internal/exposition": {"internal/printable"},
	"internal/faultpoint": {},
	"internal/filelock":   {},
	"internal/jitter":     {},
	"internal/lastwords":  {},
	"internal/plainfile":  {},
	"internal/printable":  {},
	"internal/rootpath":   {},
	"internal/timespan":   {},
	"internal/unpack":     {},

	// The contracts.
	"meta":     {"internal/buildinfo", "internal/plainfile"},
	"meta/api": {"meta"},

	// The sidecar.
	"updater/internal/agenttest": {},
	"updater/agent":              {"meta", "internal/atomicfile", "internal/faultpoint", "internal/filelock", "internal/plainfile", "internal/printable", "internal/rootpath", "internal/lastwords"},
	"updater/install":            {"meta", "internal/atomicfile", "internal/faultpoint", "internal/filelock", "internal/unpack", "internal/jitter", "internal/plainfile", "internal/rootpath"},
	"updater/runas":              {"internal/lastwords"},
	"updater/local":              {"meta", "internal/exposition", "internal/plainfile"},
	"updater/config":             {"meta", "internal/plainfile", "internal/timespan"},
	"updater":                    {"meta", "updater/config", "updater/agent", "updater/install", "updater/runas", "updater/local", "internal/atomicfile", "internal/buildinfo", "internal/faultpoint", "internal/jitter", "internal/plainfile", "internal/printable", "internal/rootpath"},
	"updater/cli":                {"meta", "updater", "updater/config", "updater/local", "internal/buildinfo", "internal/plainfile", "internal/printable", "internal/timespan"},

	// The server.
	"meta/internal/fleet":     {"meta", "meta/api"},
	"meta/internal/rollout":   {"meta", "meta/api"},
	"meta/internal/release":   {"meta", "meta/api", "internal/atomicfile", "internal/unpack", "internal/plainfile"},
	"meta/internal/fleetfile": {"meta", "meta/api", "internal/timespan"},
	"meta/internal/lineage":   {},
	"meta/internal/store":     {"meta", "meta/api", "meta/internal/lineage", "internal/faultpoint", "internal/plainfile"},
	"meta/internal/notify":    {"meta", "meta/api", "internal/jitter"},
	"meta/internal/bodies":    {},
	"meta/internal/heartbeat": {"meta", "meta/api", "meta/internal/bodies", "meta/internal/fleet"},
	"meta/internal/rollouts":  {"meta", "meta/api", "meta/internal/fleet", "meta/internal/rollout", "meta/internal/store"},
	"meta/internal/httpapi":   {"meta", "meta/api", "meta/internal/bodies", "internal/buildinfo"},
	"meta/internal/web":       {"meta", "meta/api", "meta/internal/bodies", "internal/buildinfo", "internal/timespan"},
	"meta/server": {
		"meta", "meta/api", "meta/internal/rollouts", "meta/internal/fleet", "meta/internal/heartbeat", "meta/internal/lineage", "meta/internal/rollout", "meta/internal/release", "meta/internal/fleetfile",
		"meta/internal/store", "meta/internal/notify", "meta/internal/bodies", "meta/internal/httpapi", "meta/internal/web", "internal/atomicfile", "internal/buildinfo", "internal/exposition", "internal/faultpoint", "internal/jitter", "internal/plainfile", "internal/timespan",
	},
	"scripts/fleetsim":     {"meta", "scripts/fleetsim/sim"},
	"scripts/fleetsim/sim": {"meta"},
	"scripts/benchinstall": {},
	"scripts/benchmeta":    {"meta", "scripts/fleetsim/lab", "scripts/fleetsim/sim"},
	"scripts/simrollout":   {"meta/api", "scripts/fleetsim/lab", "scripts/fleetsim/sim"},
	"scripts/fleetsim/lab": {"meta/api", "scripts/fleetsim/sim"},
	"cmd/ops-meta":         {"meta", "meta/api", "meta/server", "internal/atomicfile", "internal/buildinfo", "internal/faultpoint", "internal/plainfile", "internal/printable", "internal/timespan"},
}

func TestEveryPackageImportsOnlyItsLayers(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}:{{join .Imports " "}}`, "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), ":")
		name := strings.TrimPrefix(strings.TrimPrefix(pkg, module), "/")
		allowed, listed := layers[name]
		if !listed {
			t.Errorf("package %s is not in the list of layers: say where it belongs", name)
			continue
		}
		for imp := range strings.FieldsSeq(imports) {
			own, ours := strings.CutPrefix(imp, module+"/")
			if ours && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s, which its layer does not allow", name, own)
			}
		}
	}
}
