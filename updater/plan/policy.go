package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
)

// Policy is what a server may ask of this host. No server can override it. Its
// zero value allows everything.
type Policy struct {
	Agents       []string          // globs of names; empty: all
	RunUsers     []string          // users agents may run as; empty: all
	WorkDirs     []string          // where agents may live, or below; empty: anywhere
	TarballHosts []string          // host or host:port, or *.domain; empty: all
	NoDowngrade  bool              // no older version may follow a newer one
	MinVersions  map[string]string // oldest version allowed, by agent
	Windows      []Window          // when versions may change; empty: always
}

// refuseAgent says why the agent is none of this host's, or nothing. Such an agent is left alone.
func (p Policy) refuseAgent(name string) string {
	if matchesAny(p.Agents, name) {
		return ""
	}
	return fmt.Sprintf("policy.agents of this host does not list %s", name)
}

func matchesAny(globs []string, name string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(glob string) bool {
		matched, err := path.Match(glob, name)
		return err == nil && matched
	})
}

// refuseUser says why nothing may be run as user, or nothing.
func (p Policy) refuseUser(user string) string {
	if len(p.RunUsers) == 0 || slices.Contains(p.RunUsers, user) {
		return ""
	}
	return fmt.Sprintf("policy.run_users of this host does not list %s", user)
}

// Refuses says why nothing of what is wanted may be done here, where the version there runs
// or, as far as is known, none; or nothing.
func (p Policy) Refuses(w Wish, there string) string {
	if why := p.refuseAgent(w.Agent.Name); why != "" || w.Agent.Cmd != meta.CmdStart {
		return why
	}
	step := Step{Act: ActInstall, From: Target{Version: there}, To: Target{Place: w.Place, Version: w.Agent.Version}}
	if there != "" {
		step.Act = actBetween(there, w.Agent.Version)
	}
	return p.refuseStep(step, w)
}

// refuseStep says why a step that replaces what runs may not be done, or nothing.
func (p Policy) refuseStep(step Step, w Wish) string {
	if why := p.refuseUser(step.To.RunUser); why != "" {
		return why
	}
	if why := p.refusePlace(step.To.WorkDir); why != "" {
		return why
	}
	if why := p.refuseSources(w); why != "" {
		return why
	}
	least := p.MinVersions[w.Agent.Name]
	switch order := meta.CompareVersions(step.To.Version, least); {
	case least == "", order == meta.Newer, order == meta.Equal:
	case order == meta.Different:
		return fmt.Sprintf("policy.min_versions of this host wants %s of at least %s, and %s cannot be compared with that", w.Agent.Name, least, step.To.Version)
	default:
		return fmt.Sprintf("policy.min_versions of this host wants %s of at least %s, not %s", w.Agent.Name, least, step.To.Version)
	}
	if step.Act == ActMove || step.Act == ActChangeUser {
		step.Act = actBetween(step.From.Version, step.To.Version)
	}
	if p.NoDowngrade && step.Act == ActDowngrade {
		return fmt.Sprintf("policy.downgrade of this host is false, and %s is older than %s", step.To.Version, step.From.Version)
	}
	return ""
}

func (p Policy) refusePlace(workDir string) string {
	within := func(dir string) bool {
		return workDir == dir || strings.HasPrefix(workDir, strings.TrimRight(dir, "/")+"/")
	}
	if len(p.WorkDirs) == 0 || slices.ContainsFunc(p.WorkDirs, within) {
		return ""
	}
	return fmt.Sprintf("policy.work_dirs of this host does not list %s", workDir)
}

func (p Policy) refuseSources(w Wish) string {
	sources := append([]string{w.Agent.Tarball}, w.Agent.Mirrors.List()...)
	if meta.IsAddress(w.Agent.MD5) {
		sources = append(sources, w.Agent.MD5)
	}
	if w.Agent.ConfigFileName != "" {
		sources = append(sources, w.Agent.ConfigRemoteURL)
	}
	for _, source := range sources {
		if source != "" && !meta.ListsHost(p.TarballHosts, source) {
			return fmt.Sprintf("policy.tarball_hosts of this host does not list %s", meta.HostOf(source))
		}
	}
	return ""
}

// unlessRefused keeps what the policy refuses, or puts off, from being done.
func (s Situation) unlessRefused(step Step) Step {
	if step.Act.Replaces() || step.Act == ActWait {
		if why := s.Policy.refuseStep(step, s.Wish); why != "" {
			return Step{Act: ActNone, From: step.From, To: step.To, Reason: "refused: " + why, Code: CodePolicy}
		}
	}
	if step.Act.Replaces() || step.Act == ActStop {
		return s.untilWindow(step)
	}
	return step
}

func (s Situation) untilWindow(step Step) Step {
	if at := opensAt(s.Policy.Windows, s.Now); at.After(s.Now) {
		step.Act, step.Until, step.Code = ActWait, at, CodeWindow
		step.Reason += "; policy.windows of this host open at " + at.Format("2006-01-02 15:04 MST")
	}
	return step
}
