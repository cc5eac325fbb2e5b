package updater

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/rs/zerolog"

	"github.com/ops-updater/ops-updater/internal/host/mount"
	"github.com/ops-updater/ops-updater/internal/rootpath"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/job"
	"github.com/ops-updater/ops-updater/updater/plan"
	"github.com/ops-updater/ops-updater/updater/pool"
)

// checkRunnable says beforehand what would keep a control script from being
// run: where agents are made by default, and of every agent that the last reply
// named. As its agent's user it runs nothing but a child of our own.
func checkRunnable(ctx context.Context, c config.Config) []Finding {
	findings := checkMount("work_dir", c.WorkDir)
	wishes := lastWishes(c)
	for _, name := range slices.Sorted(maps.Keys(wishes)) {
		w := wishes[name]
		if w.Refused != "" {
			continue
		}
		if w.Place.WorkDir != c.WorkDir {
			if f := checkMount("agent "+name, w.Place.WorkDir); f != nil {
				findings = append(findings, f...)
				continue
			}
		}
		findings = append(findings, checkScript(ctx, c, name, w.Place)...)
	}
	return findings
}

func checkMount(name, dir string) []Finding {
	if at, is := mount.ReadOnly(dir); is {
		return []Finding{{
			Name: name, Verdict: VerdictWarn, Detail: fmt.Sprintf("nothing can be written in %s: %s is mounted read-only", dir, at),
			Mend: fmt.Sprintf("mount -o remount,rw %s once its disk is well; until then no version there can be changed", at),
		}}
	}
	at, is := mount.Noexec(dir)
	if !is {
		return nil
	}
	return []Finding{{
		Name: name, Verdict: VerdictWarn, Detail: fmt.Sprintf("nothing can be executed in %s: %s is mounted noexec", dir, at),
		Mend: fmt.Sprintf("mount -o remount,exec %s, and in /etc/fstab, or have another work directory; until then no agent there is started, stopped or changed", at),
	}}
}

// checkScript looks at the version that .version names. A user that cannot be
// had is another check's business.
func checkScript(ctx context.Context, c config.Config, name string, at plan.Place) []Finding {
	ctx, cancel := context.WithTimeout(ctx, sudoTimeout)
	defer cancel()
	child, err := pool.Start(ctx, at.RunUser)
	if err != nil {
		return nil
	}
	defer child.Close()
	j := job.Job{Op: job.OpCheck, Dir: dirOf(at, name), Env: NewEngineConfig(c, zerolog.Nop()).Env}
	_, err = child.Do(ctx, j, sudoTimeout, nil)
	within := codeOf(err) == job.CodeUnsafePlace && rootpath.Check(j.Dir.Path) == nil // the place itself is another check's business
	if !isHostFault(err) && !within {
		return nil
	}
	return []Finding{{
		Name: "agent " + name, Verdict: VerdictWarn, Detail: err.Error(),
		Mend: "until then it is neither started, stopped nor changed",
	}}
}
