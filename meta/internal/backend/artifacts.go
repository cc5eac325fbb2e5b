package backend

import (
	"context"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/release"
	"github.com/ops-updater/ops-updater/meta/internal/store"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// artifacts joins the contents of releases to the API.
type artifacts struct{ *core }

// Upload takes in a tarball; agent and release are made as needed.
func (r artifacts) Upload(ctx context.Context, by api.Actor, u api.Upload) (api.Artifact, error) {
	if err := r.knownArch(u.Arch); err != nil {
		return api.Artifact{}, err
	}
	a, err := r.artifacts.Receive(ctx, release.Declared{
		Agent: u.Agent, Version: u.Version, Arch: u.Arch, Size: u.Size, SHA256: u.SHA256,
	}, u.Tarball)
	if err != nil {
		return api.Artifact{}, err
	}
	return r.keepArtifact(ctx, by, a)
}

// Register takes in the description of a tarball that stays elsewhere, or
// fetches one that is kept here.
func (r artifacts) Register(ctx context.Context, by api.Actor, k api.ReleaseKey, n api.NewArtifact) (api.Artifact, error) {
	if err := r.knownArch(k.Arch); err != nil {
		return api.Artifact{}, err
	}
	a, err := r.fetchTarball(ctx, release.Declared{Agent: k.Agent, Version: k.Version, Arch: k.Arch}, n)
	if err != nil {
		return api.Artifact{}, err
	}
	return r.keepArtifact(ctx, by, a)
}

func (r artifacts) fetchTarball(ctx context.Context, d release.Declared, n api.NewArtifact) (api.Artifact, error) {
	if n.From == "" {
		return r.artifacts.Register(ctx, d, n.External)
	}
	address, login, err := splitLogin(n.From)
	if err != nil || n.External != "" {
		return api.Artifact{}, api.InvalidField("from", "a tarball is fetched from one address that is a URL")
	}
	d.Origin = originOf(address.Host, n.As, login)
	return r.artifacts.Fetch(ctx, d, address.String())
}

// knownArch refuses an arch that neither exists nor is reported by a host, such
// as the name of a build directory: no host could ever have that artifact.
func (r artifacts) knownArch(arch string) error {
	if api.ValidArch(arch) != nil || api.KnownArch(arch) || r.fleet.HasArch(arch) {
		return nil // what is no arch at all is refused with the rest of its address
	}
	e := api.Errorf(api.KindInvalid, "there is no arch %.40q, and no host reports it", arch)
	e.Field, e.Hint = "arch", "an arch is {GOOS}_{GOARCH}, such as linux_amd64"
	if near := api.Nearest(arch, api.KnownArches()); near != "" {
		e.Hint += "; did you mean " + near + "?"
	}
	return e
}

// keepArtifact writes an artifact's row, and those of its agent and release
// when they are not there. A signature that is stored already stays.
func (r artifacts) keepArtifact(ctx context.Context, by api.Actor, a api.Artifact) (api.Artifact, error) {
	var kept api.Artifact
	known := r.wanted.Load().Agents
	made := false
	err := r.write(ctx, by, func(tx *store.Tx) (err error) {
		if made, err = ensureRelease(ctx, tx, a.Agent, a.Version); err != nil {
			return err
		}
		old, err := tx.Artifact(ctx, a.Agent, a.Version, a.Arch)
		if err == nil {
			a = withSignatureOf(a, old)
		}
		kept, err = tx.PutArtifact(ctx, a)
		return err
	})
	if kept.NewAgent = made; made {
		names := make([]string, 0, len(known))
		for _, agent := range known {
			names = append(names, agent.Name)
		}
		kept.Resembles = api.Slip(a.Agent, names)
	}
	return kept, err
}

// ensureRelease makes a release, and its agent, when they are not there; made
// says that the agent was not.
func ensureRelease(ctx context.Context, tx *store.Tx, agent, version string) (made bool, err error) {
	if _, err := tx.Agent(ctx, agent); api.KindOf(err) == api.KindNotFound && err != nil {
		if _, err := tx.PutAgent(ctx, api.Agent{Name: agent}); err != nil {
			return false, err
		}
		made = true
	} else if err != nil {
		return false, err
	}
	_, err = tx.Release(ctx, agent, version)
	if api.KindOf(err) == api.KindNotFound && err != nil {
		_, err = tx.PutRelease(ctx, api.Release{Agent: agent, Version: version})
	}
	return made, err
}

// withSignatureOf is a with the signature of old, the same artifact as it was, unless
// one was found anew. What an operator signed counts more than what lies elsewhere.
func withSignatureOf(a, old api.Artifact) api.Artifact {
	given := old.Signature != "" && !old.SignedElsewhere
	if a.Signature == "" || given && a.Signature != old.Signature {
		a.Signature, a.SignedBy, a.SignedElsewhere = old.Signature, old.SignedBy, false
	}
	return a
}

// Sign stores an artifact's signature. It is the hosts that verify it; what is of
// something else is refused, and what a key of the list of keys has made and is not
// good.
func (r artifacts) Sign(ctx context.Context, by api.Actor, k api.ReleaseKey, minisig string) (api.Artifact, error) {
	signature, err := release.ReadSignature(k, minisig)
	if err != nil {
		return api.Artifact{}, err
	}
	digest, err := r.missingDigest(ctx, k) // before the write: it may be large
	if err != nil {
		return api.Artifact{}, err
	}
	var signed api.Artifact
	err = r.write(ctx, by, func(tx *store.Tx) error {
		a, err := tx.Artifact(ctx, k.Agent, k.Version, k.Arch)
		if err != nil {
			return err
		}
		if a.Signature != minisig {
			a.Signature, a.SignedBy, a.SignedElsewhere = minisig, signature.KeyID(), false
		}
		if a.Blake2b == "" {
			a.Blake2b = digest
		}
		if _, err := release.CheckSignature(signature, r.releaseKeys(), a); err != nil {
			return err
		}
		signed, err = tx.PutArtifact(ctx, a)
		return err
	})
	return r.withVerdict(signed), err
}

// releaseKeys are the release keys of the list of keys.
func (c *core) releaseKeys() trust.Keys {
	return c.ring.Load().Keys().Of(trust.UseRelease, time.Now())
}

// missingDigest is the digest that signatures are made over, of an artifact that is
// kept here and was taken in before it was computed; else empty.
func (r artifacts) missingDigest(ctx context.Context, k api.ReleaseKey) (string, error) {
	a, err := r.store.Artifact(ctx, k.Agent, k.Version, k.Arch)
	if err != nil || a.Blake2b != "" || a.External != "" {
		return "", err
	}
	return r.artifacts.Digest(ctx, a.SHA256)
}

// withVerdict is a with whether its signature is good by the list of keys.
func (c *core) withVerdict(a api.Artifact) api.Artifact {
	keys := c.releaseKeys()
	if _, listed := keys.Find(a.SignedBy); !listed {
		return a // most often: then nothing is parsed
	}
	signature, err := release.ReadSignature(api.ReleaseKey{Agent: a.Agent, Version: a.Version, Arch: a.Arch}, a.Signature)
	if err == nil {
		a.Verified, err = release.CheckSignature(signature, keys, a)
	}
	a.Verified = a.Verified && err == nil
	return a
}
