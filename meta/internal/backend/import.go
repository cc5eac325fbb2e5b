package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleetfile"
	"github.com/ops-updater/ops-updater/meta/internal/release"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

// Import takes an older ops-meta's configuration: its tarballs are fetched,
// hashed and kept, then they and the rest are applied in one piece. When a part
// of it cannot be taken nothing is, unless that was asked for. Nothing that is
// there already is removed.
func (f fleetFile) Import(ctx context.Context, by api.Actor, file []byte, o api.ImportOptions) (api.ImportReport, error) {
	taken, problems := fleetfile.Import(file)
	if len(problems) > 0 {
		return api.ImportReport{}, badFile(problems)
	}
	i := importing{fleetFile: f, options: o, logins: taken.Logins}
	report := api.ImportReport{Import: taken, File: string(fleetfile.Export(taken.Fleet))}
	if err := i.checkLogin(taken.Releases); err != nil {
		return report, err
	}
	for _, r := range taken.Releases {
		if err := i.fetchRelease(ctx, r); err != nil {
			return report, err
		}
	}
	for _, l := range i.lost {
		report.Import.Refused = append(report.Import.Refused, l.note)
	}
	refused := len(report.Import.Refused) > 0
	if refused && !o.Partial {
		i.options.DryRun = true
	}
	var err error
	report.Plan, err = i.applyImport(ctx, by, taken.Fleet)
	report.Applied = err == nil && !i.options.DryRun
	return report, err
}

// importing is one import.
type importing struct {
	fleetFile
	options api.ImportOptions
	logins  map[string]*url.Userinfo // from the file's addresses
	found   []api.Artifact
	lost    []lostRelease
}

// lostRelease is a version whose content could not be had, or not in one form.
type lostRelease struct {
	agent, version string
	note           api.ImportNote
}

// checkLogin refuses a login that could be for several places: it is sent to
// the one it is for and to nobody else.
func (i *importing) checkLogin(all []api.ImportedRelease) error {
	as := &i.options.As
	if as.User == "" || as.Host != "" {
		return nil
	}
	var hosts []string
	for _, r := range all {
		for _, t := range r.Tarballs {
			if u, err := url.Parse(t); err == nil && !slices.Contains(hosts, u.Host) {
				hosts = append(hosts, u.Host)
			}
		}
	}
	if len(hosts) > 1 {
		e := api.Errorf(api.KindInvalid, "the file names tarballs on several hosts: %s", strings.Join(hosts, ", "))
		e.Field, e.Hint = "user", "say which of them the login is for: --user NAME@HOST"
		return e
	}
	as.Host = strings.Join(hosts, "")
	return nil
}

// originOf is how a host is reached: with the login that is given for it, or
// the one that stands in its address.
func originOf(host string, as api.FetchAs, inAddress *url.Userinfo) release.Origin {
	o := release.Origin{Host: host, User: inAddress, CA: []byte(as.CA)}
	if as.User != "" && (as.Host == "" || as.Host == host) {
		o.User = url.UserPassword(as.User, as.Password)
	}
	return o
}

// splitLogin parses an address and takes the login out of it.
func splitLogin(address string) (*url.URL, *url.Userinfo, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, nil, errors.New("not a URL")
	}
	login := u.User
	u.User = nil
	return u, login, nil
}

// fetchRelease gets a release from all of its addresses, which must have the same:
// hosts would get another content than they had. Its error is the context's.
func (i *importing) fetchRelease(ctx context.Context, r api.ImportedRelease) error {
	there, err := i.store.Release(ctx, r.Agent, r.Version)
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return err
	}
	byArch, from := map[string]api.Artifact{}, map[string]string{}
	for _, a := range there.Artifacts {
		byArch[a.Arch], from[a.Arch] = a, "this server"
	}
	for _, base := range r.Tarballs {
		found, err := i.fetchFrom(ctx, r, base)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && (len(there.Artifacts) == 0 || errors.Is(err, release.ErrContradicted)) {
			i.noteLost(r, "its tarball could not be taken (%v)%s", err, i.loginHint(err))
			return nil
		}
		for _, a := range found {
			if b, twice := byArch[a.Arch]; twice && b.SHA256 != a.SHA256 {
				i.noteLost(r, "%s and %s have different content for %s (sha256 %.12s… and %.12s…), and a version has one: give one of them another version", from[a.Arch], base, a.Arch, b.SHA256, a.SHA256)
				return nil
			}
			if _, twice := byArch[a.Arch]; !twice {
				byArch[a.Arch], from[a.Arch] = a, base
				i.found = append(i.found, a)
			}
		}
	}
	if len(byArch) == 0 {
		i.noteLost(r, "it has no tarball address")
	}
	return nil
}

// fetchFrom fetches what one address has.
func (i *importing) fetchFrom(ctx context.Context, r api.ImportedRelease, base string) ([]api.Artifact, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("its address is not a URL")
	}
	return i.artifacts.Adopt(ctx, release.Declared{
		Agent: r.Agent, Version: r.Version, Look: i.options.DryRun, Origin: originOf(u.Host, i.options.As, i.logins[u.Host]),
	}, []string{base})
}

// loginHint reminds of the older servers that end the connection when nobody
// logs in.
func (i *importing) loginHint(err error) string {
	text := err.Error()
	if i.options.As.User == "" && (strings.Contains(text, "401") || strings.HasSuffix(text, "EOF")) {
		return "; if it asks for a login, give --user"
	}
	if strings.Contains(text, "certificate") && i.options.As.CA == "" {
		return "; if it has an authority of its own, give --ca-file"
	}
	return ""
}

func (i *importing) noteLost(r api.ImportedRelease, format string, args ...any) {
	why := fmt.Sprintf(format, args...)
	i.lost = append(i.lost, lostRelease{r.Agent, r.Version, api.ImportNote{
		Path: r.Agent + " " + r.Version,
		Note: why + "; publish it (a host that runs it has its files: tar -C DIRECTORY/" + r.Agent + "/" + r.Version +
			" -czf " + meta.TarballName(r.Agent, r.Version) + " .) and import again",
	}})
}

// applyImport writes what was fetched and what the file says, in one transaction.
func (i *importing) applyImport(ctx context.Context, by api.Actor, fleet api.Fleet) (api.Plan, error) {
	plan := api.Plan{DryRun: i.options.DryRun, Changes: []api.FleetChange{}}
	err := i.write(ctx, by, func(tx *store.Tx) error {
		now, err := tx.Wanted(ctx)
		if err != nil {
			return err
		}
		fleet.Assignments = i.possibleAssignments(fleet.Assignments, now.Assignments)
		plan.Changes = append(plan.Changes[:0], fleetfile.Diff(fleetOf(now), fleet, fleetfile.Options{Keep: true})...)
		if err := i.keepFound(ctx, tx); err != nil {
			return err
		}
		for _, ch := range plan.Changes {
			if err := i.applyChange(ctx, tx, ch); err != nil {
				return fmt.Errorf("%s %s %s: %w", ch.Action, ch.Kind, ch.Name, err)
			}
		}
		if i.options.DryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return api.Plan{}, err
	}
	return plan, nil
}

// keepFound makes releases of what was fetched, and of what was lost, for the
// hosts that run it.
func (i *importing) keepFound(ctx context.Context, tx *store.Tx) error {
	for _, a := range i.found {
		if _, err := ensureRelease(ctx, tx, a.Agent, a.Version); err != nil {
			return err
		}
		if _, err := tx.PutArtifact(ctx, a); err != nil {
			return err
		}
	}
	for _, l := range i.lost {
		if _, err := ensureRelease(ctx, tx, l.agent, l.version); err != nil {
			return err
		}
	}
	return nil
}

// possibleAssignments leaves out the assignments that would move to a version whose
// content is not there. Where nothing was said before, they are made: hosts
// that run that version go on.
func (i *importing) possibleAssignments(all, before []api.Assignment) []api.Assignment {
	return slices.DeleteFunc(slices.Clone(all), func(a api.Assignment) bool {
		lost := slices.ContainsFunc(i.lost, func(l lostRelease) bool { return l.agent == a.Agent && l.version == a.Version })
		return lost && cmp.Or(a.Cmd, meta.CmdStart) == meta.CmdStart && slices.ContainsFunc(before, func(b api.Assignment) bool {
			return b.Agent == a.Agent && b.Scope == a.Scope && b.Version != a.Version
		})
	})
}
