package fleet

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// legacyArch is what a host of the older dialect is taken for until its arch
// is known.
const legacyArch = "linux_amd64"

// target is what tarballs are chosen for.
type target struct {
	dialect meta.Dialect
	arch    string // {GOOS}_{GOARCH}; empty: not known
	// fillsPlaces: a run user or work directory that nobody names is filled in
	// from the host's report.
	fillsPlaces bool
}

// targetOf is what tarballs are chosen for on a host.
func (f facts) targetOf() target {
	t := target{dialect: f.dialect, arch: f.arch, fillsPlaces: f.fillsPlaces()}
	if t.dialect == meta.DialectLegacy {
		t.arch = cmp.Or(t.arch, legacyArch)
	}
	return t
}

// offer is one version an agent may be told.
type offer struct {
	desired meta.DesiredAgent
	rollout string // the rollout that offers it; empty: an assignment
	open    bool   // hosts without its grant may ask for one
	problem string // why it only asks for a report, or is not told
	untold  bool   // left out of the answer, for the problem
}

// source is what an offer is made from.
type source struct {
	agent      api.Agent
	assignment api.Assignment // zero when there is none
	release    *api.Release   // nil: not known
	version    string
	rollout    string
	retry      int64  // of the rollout, Unix time; 0: never
	base       string // public URL of this server
}

func (s source) offerFor(t target) offer {
	o := offer{rollout: s.rollout, desired: meta.DesiredAgent{
		Name: s.agent.Name, Version: s.version, Rollout: s.rollout, Retry: s.retry,
		Cmd:             cmp.Or(s.assignment.Cmd, meta.CmdStart),
		RunUser:         cmp.Or(s.assignment.RunUser, s.agent.RunUser),
		WorkDir:         cmp.Or(s.assignment.WorkDir, s.agent.WorkDir),
		ConfigFileName:  cmp.Or(s.assignment.ConfigFileName, s.agent.ConfigFileName),
		ConfigRemoteURL: cmp.Or(s.assignment.ConfigRemoteURL, s.agent.ConfigRemoteURL),
		Probation:       cmp.Or(s.assignment.Probation, s.agent.Probation),
		Keep:            cmp.Or(s.assignment.Keep, s.agent.Keep),
	}}
	switch missing := s.whyMissing(t); {
	case missing == "":
		s.setAddresses(&o.desired, t)
	case o.desired.Cmd == meta.CmdStart: // a stop needs no tarball
		o.desired.Cmd, o.problem = meta.CmdNone, missing
	}
	return o
}

// whyMissing says why there is nothing to download, or "".
func (s source) whyMissing(t target) string {
	switch {
	case s.release == nil:
		return fmt.Sprintf("release %s-%s is not known: publish it", s.agent.Name, s.version)
	case len(s.release.Artifacts) == 0:
		return fmt.Sprintf("release %s-%s has no artifact: publish one", s.agent.Name, s.version)
	case t.arch != "" && s.artifactFor(t.arch) == nil:
		return fmt.Sprintf("release %s-%s has no artifact for %s: what runs there runs on", s.agent.Name, s.version, t.arch)
	}
	return ""
}

func (s source) artifactFor(arch string) *api.Artifact {
	for i := range s.release.Artifacts {
		if s.release.Artifacts[i].Arch == arch {
			return &s.release.Artifacts[i]
		}
	}
	return nil
}

// setAddresses says where the tarball is. Older clients add no arch, so it is part
// of their base, and want the base of .md5 files; so does a host that does
// not tell its arch, since only it knows which digest applies. This server has
// them for every artifact, other places need not. The first sidecars of this
// dialect look for the .md5 beside the tarball whatever they are told, so they
// are told this server, which sends them on to the tarball.
func (s source) setAddresses(d *meta.DesiredAgent, t target) {
	if t.dialect != meta.DialectLegacy { // which knows none
		d.Mirrors = s.mirrors()
	}
	a := s.artifactFor(t.arch)
	switch {
	case t.dialect == meta.DialectLegacy:
		d.Tarball, d.MD5 = s.baseOf(a)+"/"+t.arch, s.ownBase()+"/"+t.arch
	case a == nil:
		d.Tarball, d.MD5 = s.ownBase(), s.ownBase()
	default:
		d.Tarball, d.MD5, d.SHA256, d.Size = s.baseWithSignature(a), a.MD5, a.SHA256, a.Size
	}
}

// mirrors are the assignment's, or else the agent's.
func (s source) mirrors() meta.Addresses {
	if len(s.assignment.Mirrors) > 0 {
		return meta.AddressesOf(s.assignment.Mirrors...)
	}
	return meta.AddressesOf(s.agent.Mirrors...)
}

// baseWithSignature is where an artifact and its signature are: the signature of one
// that is elsewhere may be here only, and then this server sends its hosts on to the
// tarball. They would not follow from https to http.
func (s source) baseWithSignature(a *api.Artifact) string {
	if a.External != "" && a.Signature != "" && !a.SignedElsewhere &&
		(!strings.HasPrefix(s.base, "https:") || strings.HasPrefix(a.External, "https:")) {
		return s.ownBase()
	}
	return s.baseOf(a)
}

func (s source) baseOf(a *api.Artifact) string {
	if a.External != "" {
		return strings.TrimRight(a.External, "/")
	}
	return s.ownBase()
}

// ownBase is the base of this server's addresses, which lead to artifacts that are
// elsewhere too.
func (s source) ownBase() string {
	return strings.TrimRight(s.base, "/") + "/releases/" + s.agent.Name
}

// reportOnly asks for a report of an agent and nothing else.
func reportOnly(name string) offer {
	return offer{desired: meta.DesiredAgent{Name: name}}
}
