package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// addSignFlags adds the flags of a command that signs what a server has. The root's
// --key is a client certificate's.
func (s *signer) addSignFlags(f *pflag.FlagSet) {
	f.StringVar(&s.keyFile, "sign", "", "file of the release key to sign with, on this machine")
	f.StringVar(&s.passwordFile, "sign-password-file", "", "file with that key's password")
}

func (a *app) releaseSignCommand() *cobra.Command {
	s := signer{app: a, online: true}
	var arch, sum string
	c := &cobra.Command{
		Use: "sign AGENT VERSION --sign KEYFILE", Short: "Sign a release that is published", Args: cobra.ExactArgs(2),
		Long: `Download a published release, verify its digest, sign it on this machine and give the
server the signature: for each arch, or for --arch. The key stays here.

What is signed is what the server has. Compare its sha256 with that of your build, or
give it with --sha256: then nothing else is signed. ops-meta sign and ops-meta publish
--sign sign the file that you have.`,
		Example: "  ops-meta releases sign node_exporter 1.9.1 --sign release.key\n  ops-meta releases sign node_exporter 1.9.1 --arch linux_amd64 --sha256 9f1c… --sign release.key",
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.keyFile == "" {
				return &usage{command: cmd, err: errors.New("the release key is not given: want --sign KEYFILE")}
			}
			return s.signRelease(cmd.Context(), api.ReleaseKey{Agent: args[0], Version: args[1], Arch: arch}, strings.ToLower(sum))
		},
	}
	f := c.Flags()
	s.addSignFlags(f)
	f.StringVar(&arch, "arch", "", "only the artifact for this arch")
	f.StringVar(&sum, "sha256", "", "sign nothing that has not this sha256")
	return c
}

func (s *signer) signRelease(ctx context.Context, k api.ReleaseKey, sum string) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	rel, err := c.Release(ctx, k.Agent, k.Version)
	if err != nil {
		return err
	}
	found, err := artifactsFor(rel, k.Arch)
	if err != nil {
		return err
	}
	for _, art := range found {
		if sum != "" && art.SHA256 != sum {
			return &api.Error{Kind: api.KindInvalid, Field: "sha256", Message: fmt.Sprintf("not signed: %s %s for %s has the sha256 %s", art.Agent, art.Version, art.Arch, art.SHA256)}
		}
	}
	if err := s.loadKey(); err != nil {
		return err
	}
	for i, art := range found {
		if found[i], err = s.signDownloaded(ctx, c, art); err != nil {
			return err
		}
	}
	return printList(s.app, s.out, found, func(w io.Writer) {
		for _, art := range found {
			writef(w, "%s %s for %s signed by %s, sha256 %s\n", art.Agent, art.Version, art.Arch, art.SignedBy, art.SHA256)
		}
	})
}

// signDownloaded signs an artifact that only the server, or who it names, has.
func (s *signer) signDownloaded(ctx context.Context, c *api.Client, art api.Artifact) (api.Artifact, error) {
	tarball, err := c.Download(ctx, art)
	if err != nil {
		return art, err
	}
	defer tarball.Close() //nolint:errcheck // only read
	body, done := s.showProgress(io.LimitReader(tarball, art.Size+1), art.Size, "signing "+meta.TarballName(art.Agent, art.Version)+" for "+art.Arch)
	defer done()
	return s.signArtifact(ctx, c, art, body)
}

// artifactsFor are a release's artifacts, or the one for an arch.
func artifactsFor(rel api.Release, arch string) ([]api.Artifact, error) {
	var found []api.Artifact
	for _, art := range rel.Artifacts {
		if arch == "" || art.Arch == arch {
			found = append(found, art)
		}
	}
	switch {
	case len(rel.Artifacts) == 0:
		return nil, &api.Error{Kind: api.KindNotFound, Message: fmt.Sprintf("%s %s has no artifact", rel.Agent, rel.Version), Hint: "publish one: ops-meta publish FILE"}
	case len(found) == 0:
		return nil, &api.Error{Kind: api.KindNotFound, Message: fmt.Sprintf("%s %s has no artifact for %s, only for %s", rel.Agent, rel.Version, arch, archesOf(rel))}
	}
	return found, nil
}

func archesOf(rel api.Release) string {
	var arches []string
	for _, art := range rel.Artifacts {
		arches = append(arches, art.Arch)
	}
	return strings.Join(arches, ", ")
}
