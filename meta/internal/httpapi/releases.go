package httpapi

import (
	"net/http"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/trust"
)

const oneRelease = "/agents/{agent}/releases/{version}"

func (s *Server) releaseRoutes() []route {
	return []route{
		{
			method: "GET", path: "/releases", id: "listReleases", summary: "Releases, the newest version first",
			role: api.RoleViewer, query: listingParams(agent), endpoint: reads(s.listReleases),
		},
		{method: "GET", path: oneRelease, id: "getRelease", summary: "One release", role: api.RoleViewer, endpoint: reads(func(c *call) (api.Release, error) {
			return s.backend.Releases.Release(c.Context(), c.releaseKey())
		})},
		{method: "PUT", path: oneRelease, id: "putReleaseNotes", summary: "Make a release or write its notes", role: api.RoleOperator, remit: remitAgent, endpoint: takes(http.StatusOK, s.putReleaseNotes)},
		{method: "DELETE", path: oneRelease, id: "deleteRelease", summary: "Remove a release that nothing wants", role: api.RoleOperator, remit: remitAgent, endpoint: acts(func(c *call) error {
			return s.backend.Releases.DeleteRelease(c.Context(), c.actor(), c.releaseKey())
		})},
		{method: "POST", path: oneRelease + "/artifacts", id: "registerArtifact", summary: "Fetch and hash a tarball that is hosted elsewhere", role: api.RoleOperator, remit: remitAgent, endpoint: takes(http.StatusCreated, s.registerArtifact)},
		{
			method: "PUT", path: oneRelease + "/artifacts/{arch}", id: "uploadArtifact",
			summary: "Publish a tarball; the arch auto is told from the programs inside", role: api.RoleOperator, remit: remitAgent,
			query:    []param{{"sha256", "refuse any other content", ""}},
			endpoint: uploads("application/gzip", s.uploadArtifact),
		},
		{method: "PUT", path: oneRelease + "/artifacts/{arch}/signature", id: "putSignature", summary: "Store a minisign signature", role: api.RoleOperator, remit: remitAgent, endpoint: uploads("text/plain", s.signArtifact)},
		{
			method: "POST", path: "/artifacts/prune", id: "pruneArtifacts", summary: "Remove artifacts that nothing uses", role: api.RoleAdmin,
			query:    []param{dryRun, {"olderThanDays", "only those published longer ago; 30 unless told", "integer"}},
			endpoint: reads(s.pruneArtifacts),
		},
	}
}

func (c *call) releaseKey() api.ReleaseKey {
	arch := c.PathValue("arch")
	if arch == "auto" {
		arch = ""
	}
	return api.ReleaseKey{Agent: c.PathValue("agent"), Version: c.PathValue("version"), Arch: arch}
}

func (s *Server) listReleases(c *call) (api.Page[api.Release], error) {
	page, err := c.pageCursor()
	if err != nil {
		return api.Page[api.Release]{}, err
	}
	agent := c.URL.Query().Get("agent")
	return refuseUnknownFilter[api.Release](c, api.FilterNames{Agent: agent})(s.backend.Releases.Releases(c.Context(), agent, page))
}

func (s *Server) putReleaseNotes(c *call, n api.ReleaseNotes) (api.Release, error) {
	return s.backend.Releases.PutReleaseNotes(c.Context(), c.actor(), c.releaseKey(), n.Notes)
}

func (s *Server) registerArtifact(c *call, n api.NewArtifact) (api.Artifact, error) {
	k := c.releaseKey()
	k.Arch = n.Arch
	return s.backend.Artifacts.Register(c.Context(), c.actor(), k, n)
}

// uploadArtifact streams the body to the artifacts; their limit on its size applies.
func (s *Server) uploadArtifact(c *call) (api.Artifact, error) {
	k := c.releaseKey()
	return s.backend.Artifacts.Upload(c.Context(), c.actor(), api.Upload{
		Agent: k.Agent, Version: k.Version, Arch: k.Arch, Size: max(c.ContentLength, 0), SHA256: c.URL.Query().Get("sha256"),
		Tarball: c.Body,
	})
}

func (s *Server) signArtifact(c *call) (api.Artifact, error) {
	text, err := c.readAll(trust.MaxSignature)
	if err != nil {
		return api.Artifact{}, err
	}
	return s.backend.Artifacts.Sign(c.Context(), c.actor(), c.releaseKey(), string(text))
}

func (s *Server) pruneArtifacts(c *call) (api.Pruned, error) {
	dry, err := c.boolParam("dryRun")
	if err != nil {
		return api.Pruned{}, err
	}
	days, err := intParam(c.URL.Query().Get("olderThanDays"), "olderThanDays", 30)
	if err != nil {
		return api.Pruned{}, err
	}
	return s.backend.Artifacts.Prune(c.Context(), c.actor(), days, dry)
}
