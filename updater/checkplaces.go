package updater

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/internal/host/runas"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/internal/rootpath"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// checkPlaces looks for what other users could change although root relies on
// it: where agents of root's are or would be, which then are not touched, and
// the sidecar's own files, when it runs as root.
func checkPlaces(ctx context.Context, c config.Config) []Finding {
	var findings []Finding
	findings = append(findings, checkOwn(c)...)
	root := map[string]bool{}
	for name, w := range lastWishes(c) {
		user := w.Place.RunUser
		if _, known := root[user]; !known {
			id, err := runas.Lookup(ctx, user)
			root[user] = err == nil && id.UID == 0
		}
		if !root[user] || w.Refused != "" {
			continue
		}
		findings = append(findings, checkPlace("place of "+name, dirOf(w.Place, name).Path, "until then "+name+" is not touched")...)
	}
	slices.SortFunc(findings, func(a, b Finding) int { return strings.Compare(a.Name, b.Name) })
	return findings
}

// checkOwn is about the sidecar's own files.
func checkOwn(c config.Config) []Finding {
	if os.Geteuid() != 0 {
		return nil
	}
	const effect = "until then anyone who can change it can make this host run anything as root"
	findings := checkPlace("configuration", filepath.Dir(c.Path), effect)
	findings = append(findings, checkPlace("var_dir", c.VarDir, effect)...)
	findings = append(findings, checkPlace("work_dir", c.WorkDir, "until then no agent is run as root there")...)
	if self, err := os.Executable(); err == nil {
		findings = append(findings, checkPlace("program", filepath.Dir(self), effect)...)
	}
	return findings
}

// lastWishes is what the last reply wanted, without changing anything.
func lastWishes(c config.Config) map[string]plan.Wish {
	data, err := plainfile.Read(filepath.Join(c.VarDir, desiredName), maxStateFile)
	var d plan.Desired
	if err != nil || json.Unmarshal(data, &d) != nil {
		return nil // there is no last reply, so nothing is needed yet
	}
	return plan.Wishes(d, plan.Place{WorkDir: c.WorkDir, RunUser: currentUser()}, c.VarDir)
}

func checkPlace(name, path, effect string) []Finding {
	others, ok := errors.AsType[*rootpath.Error](rootpath.Check(path))
	if !ok {
		return nil
	}
	return []Finding{{Name: name, Verdict: VerdictWarn, Detail: others.Error(), Mend: others.Mend + "; " + effect}}
}
