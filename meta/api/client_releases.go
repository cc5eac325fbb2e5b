package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ops-updater/ops-updater/meta"
)

// Releases lists releases, the newest version first. It knows Agent.
func (c *Client) Releases(ctx context.Context, o ListOptions) (Page[Release], error) {
	return getResource[Page[Release]](ctx, c, o.Values(), "releases")
}

// Release is one version of an agent.
func (c *Client) Release(ctx context.Context, agent, version string) (Release, error) {
	return getResource[Release](ctx, c, nil, "agents", agent, "releases", version)
}

// PutReleaseNotes writes a release's notes; the release is made when it is
// not there.
func (c *Client) PutReleaseNotes(ctx context.Context, agent, version, notes string) (Release, error) {
	return readReply[Release](ctx, c, call{
		method: http.MethodPut, path: []string{"agents", agent, "releases", version}, body: ReleaseNotes{Notes: notes},
	})
}

// DeleteRelease removes a release that nothing wants, and its artifacts.
func (c *Client) DeleteRelease(ctx context.Context, agent, version string) error {
	return c.deleteResource(ctx, 0, "agents", agent, "releases", version)
}

// Upload is a tarball on its way to the server.
type Upload struct {
	Agent   string
	Version string
	Arch    string // empty: what its binaries are for, or linux_amd64
	Tarball io.Reader
	Size    int64  // bytes; 0: not known
	SHA256  string // when given, the server refuses anything else
}

// Upload publishes a tarball. The agent and the release are made when they
// are not there. The same content again changes nothing; other content under
// a version that exists is refused.
func (c *Client) Upload(ctx context.Context, u Upload) (Artifact, error) {
	query := url.Values{}
	setParam(query, "sha256", u.SHA256)
	arch := u.Arch
	if arch == "" {
		arch = "auto"
	}
	return readSlowly[Artifact](ctx, c, call{
		method: http.MethodPut, path: []string{"agents", u.Agent, "releases", u.Version, "artifacts", arch},
		query: query, raw: u.Tarball, rawType: "application/gzip", rawSize: u.Size,
	})
}

// Download opens an artifact's tarball, wherever it is kept: the caller closes it and
// compares its digest. The client's token is shown to nobody but the server.
func (c *Client) Download(ctx context.Context, a Artifact) (io.ReadCloser, error) {
	address := c.base.JoinPath("releases", a.Agent, a.Arch, meta.TarballName(a.Agent, a.Version))
	follow := *c.http
	follow.CheckRedirect = nil // an artifact may be kept elsewhere
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity") // the tarball's own bytes are wanted
	req.Header.Set("User-Agent", c.agent)
	resp, err := follow.Do(req)
	if err != nil {
		return nil, c.unreachableError(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close() //nolint:errcheck // only read
		return nil, readProblem(resp)
	}
	return resp.Body, nil
}

// RegisterArtifact makes the server fetch and hash a tarball that is hosted
// elsewhere.
func (c *Client) RegisterArtifact(ctx context.Context, agent, version string, n NewArtifact) (Artifact, error) {
	return readSlowly[Artifact](ctx, c, call{
		method: http.MethodPost, path: []string{"agents", agent, "releases", version, "artifacts"}, body: n,
	})
}

// PutSignature stores an artifact's detached minisign signature.
func (c *Client) PutSignature(ctx context.Context, a Artifact, minisig io.Reader) (Artifact, error) {
	return readReply[Artifact](ctx, c, call{
		method: http.MethodPut, path: []string{"agents", a.Agent, "releases", a.Version, "artifacts", a.Arch, "signature"},
		raw: minisig, rawType: "text/plain",
	})
}

// PruneArtifacts removes artifacts that nothing uses and that are older than
// so many days. With dryRun it only says which.
func (c *Client) PruneArtifacts(ctx context.Context, olderThanDays int, dryRun bool) (Pruned, error) {
	query := url.Values{"dryRun": {strconv.FormatBool(dryRun)}, "olderThanDays": {strconv.Itoa(olderThanDays)}}
	return readReply[Pruned](ctx, c, call{method: http.MethodPost, path: []string{"artifacts", "prune"}, query: query})
}
