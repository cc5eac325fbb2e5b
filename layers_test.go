package main

import (
	"os"
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
	"": {"updater/cli"},

	// Leaves both programs need.
	"internal/atomicfile":     {},
	"internal/buildinfo":      {},
	"internal/exposition":     {"internal/printable"},
	"internal/faultpoint":     {},
	"internal/filelock":       {"internal/pause"},
	"internal/hostlab":        {"meta"}, // a host for tests
	"internal/jitter":         {},
	"internal/lastwords":      {},
	"internal/pause":          {},
	"internal/plainfile":      {},
	"internal/printable":      {},
	"internal/rootpath":       {},
	"internal/servicemanager": {},
	"internal/timespan":       {},
	"internal/jsonbound":      {},
	"packaging":               {}, // files
	"internal/unpack":         {"internal/printable"},
	"internal/username":       {},

	// What every program needs that runs others on a host.
	"internal/host/control":     {"meta", "internal/host/mount", "internal/host/process", "internal/host/status", "internal/faultpoint", "internal/lastwords", "internal/printable"},
	"internal/host/localsocket": {"internal/plainfile"},
	"internal/host/mount":       {},
	"internal/host/process":     {"internal/printable"},
	"internal/host/runas":       {"internal/lastwords", "internal/username"},
	"internal/host/status":      {"meta"},

	// The contracts.
	"meta/trust": {"internal/jsonbound", "internal/printable"},
	"meta":       {"meta/trust", "internal/jsonbound", "internal/plainfile", "internal/username", "internal/printable"},
	"meta/api":   {"meta", "meta/trust", "internal/printable"},

	// The sidecar.
	"updater/attacks":            {}, // tests only
	"updater/internal/agenttest": {},
	"updater/matrix":             {}, // tests of the program from outside
	"updater/plan":               {"meta", "internal/host/status"},
	"updater/config":             {"meta", "meta/trust", "updater/plan", "internal/atomicfile", "internal/username", "internal/plainfile", "internal/timespan", "internal/printable"},
	"updater/job":                {"meta", "meta/trust", "updater/plan", "internal/host/process"},
	"updater/agent":              {"meta", "updater/job", "updater/plan", "internal/host/control", "internal/host/process", "internal/host/status", "internal/atomicfile", "internal/faultpoint", "internal/filelock", "internal/plainfile", "internal/rootpath", "internal/pause"},
	"updater/install":            {"meta", "meta/trust", "updater/job", "internal/faultpoint", "internal/filelock", "internal/jitter", "internal/plainfile", "internal/rootpath", "internal/unpack", "internal/pause"},
	"updater/takeover":           {"internal/host/process", "internal/atomicfile", "internal/faultpoint", "internal/filelock", "internal/plainfile", "internal/rootpath", "internal/servicemanager"},
	"updater/child":              {"updater/agent", "updater/install", "updater/job", "internal/host/control", "internal/atomicfile", "internal/faultpoint", "internal/rootpath", "updater/takeover"},
	"updater/pool":               {"updater/job", "internal/host/runas", "internal/faultpoint"},
	"updater/local":              {"meta", "internal/host/localsocket", "internal/exposition"},
	"updater":                    {"meta", "meta/trust", "updater/config", "updater/job", "updater/local", "updater/plan", "updater/pool", "internal/host/mount", "internal/host/runas", "internal/host/status", "internal/atomicfile", "internal/buildinfo", "internal/faultpoint", "internal/jitter", "internal/plainfile", "internal/printable", "internal/rootpath", "updater/takeover", "internal/host/process", "internal/servicemanager"},
	"updater/cli":                {"meta", "updater", "updater/child", "updater/config", "updater/local", "internal/buildinfo", "internal/plainfile", "internal/printable", "internal/timespan", "internal/pause", "updater/takeover"},

	// The server.
	"meta/internal/fleet":     {"meta", "meta/api", "meta/trust", "internal/pause"},
	"meta/internal/rollout":   {"meta", "meta/api"},
	"meta/internal/schedule":  {"meta", "meta/api", "meta/internal/rollout"}, // forecasts by the same policy
	"meta/internal/release":   {"meta", "meta/api", "meta/trust", "internal/atomicfile", "internal/unpack", "internal/plainfile", "internal/printable"},
	"meta/internal/fleetfile": {"meta", "meta/api", "internal/timespan", "internal/printable"},
	"meta/internal/lineage":   {},
	"meta/internal/keyring":   {"meta/trust"},
	"meta/internal/password":  {},
	"meta/internal/provider":  {"meta", "meta/api", "internal/plainfile", "internal/printable"},
	"meta/internal/pgtest":    {}, // lends tests a PostgreSQL
	"meta/internal/store":     {"meta", "meta/api", "meta/internal/keyring", "meta/internal/lineage", "internal/faultpoint", "internal/plainfile", "internal/pause"},
	"meta/internal/notify":    {"meta/api", "internal/jitter"},
	"meta/internal/bodies":    {},
	"meta/internal/heartbeat": {"meta", "meta/api", "meta/trust", "meta/internal/bodies", "meta/internal/fleet", "internal/printable"},
	"meta/internal/rollouts":  {"meta/api", "meta/internal/fleet", "meta/internal/rollout", "meta/internal/schedule", "meta/internal/store"},
	"meta/internal/httpapi":   {"internal/jsonbound", "meta", "meta/api", "meta/trust", "meta/internal/bodies", "internal/buildinfo", "internal/printable"},
	"meta/internal/web":       {"meta", "meta/api", "meta/internal/bodies", "internal/timespan", "internal/printable"},
	"meta/internal/backend": {
		"meta", "meta/api", "meta/trust", "meta/internal/keyring", "meta/internal/fleet", "meta/internal/fleetfile", "meta/internal/lineage", "meta/internal/notify", "meta/internal/password", "meta/internal/provider", "meta/internal/release", "meta/internal/rollout", "meta/internal/rollouts",
		"meta/internal/store", "internal/atomicfile", "internal/plainfile", "internal/printable", "internal/timespan",
	},
	"meta/server": {
		"meta", "meta/api", "meta/internal/backend", "meta/internal/fleet", "meta/internal/heartbeat", "meta/internal/release", "meta/internal/store", "meta/internal/notify", "meta/internal/provider", "meta/internal/bodies", "meta/internal/httpapi", "meta/internal/web",
		"internal/atomicfile", "internal/buildinfo", "internal/exposition", "internal/faultpoint", "internal/plainfile", "internal/timespan", "internal/pause", "internal/printable", "internal/servicemanager", "packaging",
	},
	"internal/soak":        {"meta"}, // shakes a real sidecar
	"scripts/fleetsim":     {"scripts/fleetsim/sim"},
	"scripts/fleetsim/sim": {"meta", "internal/pause"},
	"scripts/benchinstall": {},
	"scripts/sbom":         {},
	"scripts/benchmeta":    {"meta", "scripts/fleetsim/lab", "scripts/fleetsim/sim", "internal/pause"},
	"scripts/simrollout":   {"meta/api", "scripts/fleetsim/lab", "scripts/fleetsim/sim"},
	"scripts/fleetsim/lab": {"meta/api", "scripts/fleetsim/sim"},
	"cmd/ops-meta":         {"meta", "meta/api", "meta/trust", "meta/server", "internal/atomicfile", "internal/buildinfo", "internal/faultpoint", "internal/plainfile", "internal/printable", "internal/timespan", "internal/pause"},
}

// pure packages decide and touch nothing: neither they nor what they import of
// this module may reach for the host or the network. The contract is beside it,
// as its package also has the client.
var pure = []string{"updater/plan"}

var impure = []string{"os", "net", "syscall", "golang.org/x/sys"}

const contract = module + "/meta"

// onlyFor lists who may import what must not be reached otherwise: what reads or
// writes below a work directory runs in the child alone, so that the resident
// process cannot.
var onlyFor = map[string][]string{
	"updater/agent":   {"updater/child"},
	"updater/install": {"updater/child"},
	"updater/child":   {"updater/cli"}, // which hands its process over
}

// without lists what a package must not import of the standard library: what
// calls do knows nothing of the protocol that they come by.
var without = map[string][]string{
	"meta/internal/backend": {"net", "net/http"},
}

// house is what every package of the module imports, by its name in layers, on
// each system that the sidecar is built for.
func house(t *testing.T) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	for _, system := range []string{"linux", "darwin"} {
		list := exec.Command("go", "list", "-f", `{{.ImportPath}}:{{join .Imports " "}}`, "./...")
		list.Env = append(os.Environ(), "GOOS="+system)
		var errs strings.Builder // apart: there it says also what it downloads first
		list.Stderr = &errs
		out, err := list.Output()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, errs.String())
		}
		for line := range strings.Lines(string(out)) {
			pkg, list, _ := strings.Cut(strings.TrimSpace(line), ":")
			name := strings.TrimPrefix(strings.TrimPrefix(pkg, module), "/")
			imports[name] = append(imports[name], strings.Fields(list)...)
		}
	}
	return imports
}

func TestEveryPackageImportsOnlyItsLayers(t *testing.T) {
	imports := house(t)
	for name := range imports {
		allowed, listed := layers[name]
		if !listed {
			t.Errorf("package %s is not in the list of layers: say where it belongs", name)
			continue
		}
		for _, imp := range imports[name] {
			own, ours := strings.CutPrefix(imp, module+"/")
			if slices.Contains(without[name], imp) {
				t.Errorf("%s imports %s, which it has to do without", name, imp)
			}
			if ours && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s, which its layer does not allow", name, own)
			}
			if alone := onlyFor[own]; ours && alone != nil && !slices.Contains(alone, name) {
				t.Errorf("%s imports %s, which is for %v alone", name, own, alone)
			}
		}
	}
	for name, allowed := range layers {
		if _, there := imports[name]; !there {
			t.Errorf("package %s is in the list of layers and nowhere else: remove it", name)
		}
		for _, own := range allowed {
			if !slices.Contains(imports[name], module+"/"+own) {
				t.Errorf("%s may import %s and does not: remove it from its layer", name, own)
			}
		}
	}
}

func TestEveryPackageThatDecidesTouchesNothing(t *testing.T) {
	imports := house(t)
	var check func(name, by string)
	check = func(name, by string) {
		for _, imp := range imports[name] {
			if slices.ContainsFunc(impure, func(p string) bool { return imp == p || strings.HasPrefix(imp, p+"/") }) {
				t.Errorf("%s imports %s", by, imp)
			}
			if own, ours := strings.CutPrefix(imp, module+"/"); ours && imp != contract {
				check(own, by+" imports "+own+", which")
			}
		}
	}
	for _, name := range pure {
		check(name, name)
	}
}
