package server

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/internal/buildinfo"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/web"
	"github.com/ops-updater/ops-updater/packaging"
)

// sidecar is the agent that ops-updater is.
const sidecar = "ops-updater"

// serveInstall hands out a script that installs the sidecar on a host and enrols it. Who
// asks shows the enrolment token that the script is bound to.
func (s *Server) serveInstall(w http.ResponseWriter, r *http.Request) {
	id, err := s.access.Identify(r)
	switch {
	case err != nil:
		s.api.Refuse(w, r, err)
		return
	case id.Role != api.RoleEnroll:
		s.api.Refuse(w, r, &api.Problem{
			Status: http.StatusForbidden, Type: "urn:ops-meta:forbidden", Title: http.StatusText(http.StatusForbidden),
			Detail: "the script enrols hosts: it wants an enrolment token, and this one is of the role " + string(id.Role),
			Hint:   "ops-meta token create NAME --role enroll",
		})
		return
	}
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	script, err := s.installScript(strings.TrimSpace(token), id)
	if err != nil {
		s.api.Refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/x-shellscript; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(script))
}

func (s *Server) installScript(token string, id api.Identity) (string, error) {
	given := s.handout()
	if len(given.Sidecars) == 0 {
		return "", &api.Error{
			Kind: api.KindNotFound, Message: "this server holds no release of ops-updater that hosts could install",
			Hint: "publish one, for each platform that hosts have: ./control pack makes it, and ops-meta publish ops-updater-VERSION.tar.gz takes it",
		}
	}
	var releases []string
	for _, a := range given.Sidecars {
		file := meta.TarballName(a.Agent, a.Version)
		releases = append(releases, strings.Join([]string{a.Arch, a.Version, a.SHA256, given.Server + "/releases/" + a.Agent + "/" + a.Arch + "/" + file}, " "))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "#!/bin/sh\n# Made by ops-meta %s for the enrolment token %s. It holds that token: keep it to yourself.\n", buildinfo.Version(), printable.Text(id.Name))
	for _, v := range []struct{ name, value string }{
		{"SERVER", given.Server},
		{"TOKEN", token},
		{"CA", given.CA},
		{"RELEASES", strings.Join(releases, "\n")},
		{"UNIT", strings.TrimRight(packaging.SidecarUnit, "\n")},
	} {
		fmt.Fprintf(&b, "%s=%s\n", v.name, shellQuote(v.value))
	}
	return b.String() + packaging.InstallScript, nil
}

// handout is what hosts are given to install.
func (s *Server) handout() web.Handout {
	return web.Handout{Server: strings.TrimRight(s.backend.Settings().PublicURL, "/"), CA: s.ownAuthority(), Sidecars: s.installable()}
}

// installable is one release of the sidecar for each platform that this server holds: the
// one that everyone is to have, or else the newest.
func (s *Server) installable() []api.Artifact {
	wanted := s.backend.Wanted()
	everyones := ""
	for _, a := range wanted.Assignments {
		if a.Agent == sidecar && a.Scope.Kind == api.ScopeEveryone {
			everyones = a.Version
		}
	}
	best := map[string]api.Artifact{}
	for _, a := range s.backend.ReleasedArtifacts() {
		had, some := best[a.Arch]
		switch {
		case a.Agent != sidecar || a.External != "" || some && had.Version == everyones:
		case !some, a.Version == everyones, meta.CompareVersions(a.Version, had.Version) == meta.Newer:
			best[a.Arch] = a
		}
	}
	return slices.SortedFunc(maps.Values(best), func(a, b api.Artifact) int { return cmp.Compare(a.Arch, b.Arch) })
}

// ownAuthority is the certificate, in PEM, that vouches for this server where the system of
// a host does not: the last one of its chain. Empty without TLS, and where the system's
// authorities vouch for it.
func (s *Server) ownAuthority() string {
	if s.conf.TLSCert == "" {
		return ""
	}
	data, err := os.ReadFile(s.conf.TLSCert)
	if err != nil {
		return ""
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			chain = append(chain, c)
		}
	}
	if len(chain) == 0 {
		return ""
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Intermediates: between}); err == nil {
		return ""
	}
	last := chain[len(chain)-1]
	return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: last.Raw})))
}

// shellQuote makes one word of a shell of s, whatever is in it.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
