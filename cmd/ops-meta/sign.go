package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ops-updater/ops-updater/internal/atomicfile"
	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// signer signs releases on this machine. The key never leaves it.
type signer struct {
	*app
	keyFile, passwordFile string
	online                bool // the command speaks to a server: other flags of its have the plain names

	key trust.PrivateKey // once loadKey has read it
}

// loadKey reads the key.
func (s *signer) loadKey() (err error) {
	s.key, err = s.privateKey(s.keyFile, passwordOf{file: s.passwordFile, flag: s.passwordFlag()})
	return err
}

// passwordFlag is the flag that gives the password, of the command that signs.
func (s *signer) passwordFlag() string {
	if s.online {
		return "sign-password-file"
	}
	return "password-file"
}

// signReader signs all that r has as subject, and returns the signature's file with
// the sha256 of what was signed.
func (s *signer) signReader(r io.Reader, subject trust.Subject) (file []byte, sum string, err error) {
	digest, hash := trust.NewDigest(), sha256.New()
	file, err = s.key.SignReader(io.TeeReader(r, io.MultiWriter(digest, hash)), subject)
	if err != nil {
		return nil, "", err
	}
	signature, err := trust.ParseSignature(file)
	if err == nil {
		_, err = signature.Verify(trust.Keys{s.key.Public()}, digest, subject)
	}
	if err != nil {
		return nil, "", fmt.Errorf("what was signed does not verify: %w", err)
	}
	return file, hex.EncodeToString(hash.Sum(nil)), nil
}

// signArtifact signs the bytes of a published artifact, which r has, and gives the
// server the signature. Nothing is signed that is not what is published.
func (s *signer) signArtifact(ctx context.Context, c *api.Client, a api.Artifact, r io.Reader) (api.Artifact, error) {
	file, sum, err := s.signReader(r, trust.Release(a.Agent, a.Version, a.Arch))
	if err != nil {
		return a, fmt.Errorf("cannot sign %s: %w", meta.TarballName(a.Agent, a.Version), err)
	}
	if sum != a.SHA256 {
		return a, &api.Error{
			Kind: api.KindInvalid, Message: fmt.Sprintf("not signed: the published %s %s for %s has the sha256 %s, and these bytes have %s", a.Agent, a.Version, a.Arch, a.SHA256, sum),
			Hint: "sign the file that was published",
		}
	}
	return c.PutSignature(ctx, a, strings.NewReader(string(file)))
}

// signing is one call of the command sign.
type signing struct {
	signer
	said   api.Naming
	file   string
	config string // name that a remote configuration is placed as; empty: a release is signed
}

// signed is what the command sign did.
type signed struct {
	File      string `json:"file"`
	Signature string `json:"signature"` // path of its file
	Subject   string `json:"subject"`   // the trusted comment
	KeyID     string `json:"keyId"`
	PublicKey string `json:"publicKey"`
	SHA256    string `json:"sha256"` // of the file
}

func (a *app) signCommand() *cobra.Command {
	s := signing{signer: signer{app: a}}
	c := &cobra.Command{
		Use: "sign FILE", Short: "Sign a release's tarball or a remote configuration, offline", Args: cobra.ExactArgs(1),
		Long: `Sign a tarball with a release key, on this machine and without a server, and write
FILE.minisig, which minisign checks and ops-meta publish finds. Agent, version and arch
are signed with it, so that the signature is good for nothing else; they come from the
file's name and directory as in ops-meta publish, or from the flags.

With --config NAME it is the remote configuration that hosts place as NAME for --agent;
put FILE.minisig beside it, where hosts fetch it.

The key is a file of minisign -G (or of ops-meta key new), --key, OPS_META_RELEASE_KEY or
~/.minisign/minisign.key. Its password is asked for, or read from --password-file.`,
		Example: "  ops-meta sign linux_amd64/node_exporter-1.9.1.tar.gz --key release.key\n" +
			"  ops-meta sign build.tgz --agent node_exporter --version 1.9.1 --arch linux_arm64\n" +
			"  ops-meta sign cfg.json --config cfg.json --agent falcon-agent",
		RunE: func(_ *cobra.Command, args []string) error {
			s.file = args[0]
			return s.run()
		},
	}
	f := c.Flags()
	f.StringVar(&s.keyFile, "key", "", "file of the release key (default OPS_META_RELEASE_KEY, or ~/.minisign/minisign.key)")
	f.StringVar(&s.passwordFile, "password-file", "", "file with the key's password")
	f.StringVar(&s.said.Agent, "agent", "", "name of the agent; --name means the same")
	f.StringVar(&s.said.Version, "version", "", "version of the release")
	f.StringVar(&s.said.Arch, "arch", "", "such as linux_amd64")
	f.StringVar(&s.config, "config", "", "sign a remote configuration that is placed as this file")
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "name" { // as the trusted comment has it
			name = "agent"
		}
		return pflag.NormalizedName(name)
	})
	return c
}

func (s *signing) run() error {
	subject, err := s.subject()
	if err != nil {
		return err
	}
	if s.keyFile = cmp.Or(s.keyFile, os.Getenv("OPS_META_RELEASE_KEY")); s.keyFile == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		s.keyFile = filepath.Join(home, ".minisign", "minisign.key")
	}
	if plainfile.CheckLinked(s.file) != nil {
		return &api.Error{Kind: api.KindInvalid, Message: s.file + " is not a file"}
	}
	f, err := os.Open(s.file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := s.loadKey(); err != nil {
		return err
	}
	body, done := s.showProgress(f, info.Size(), "signing "+filepath.Base(s.file))
	file, sum, err := s.signReader(body, subject)
	done()
	if err != nil {
		return fmt.Errorf("cannot sign %s: %w", s.file, err)
	}
	did := signed{File: s.file, Signature: s.file + trust.Extension, Subject: subject.Comment(), KeyID: s.key.Public().ID(), PublicKey: s.key.Public().String(), SHA256: sum}
	if err := atomicfile.Write(did.Signature, file, 0o644); err != nil {
		return fmt.Errorf("cannot write the signature: %w", err)
	}
	return s.print(s.out, did, func(w io.Writer) {
		writef(w, "%s signed as %s with key %s: %s\n", did.File, subject, did.KeyID, did.Signature)
		writef(w, "check it with: minisign -V -P %s -m %s\n", did.PublicKey, shellWord(did.File))
	})
}

// subject is what is signed, from flags and the file's name.
func (s *signing) subject() (trust.Subject, error) {
	none := trust.Subject{}
	if s.config != "" {
		return s.configSubject()
	}
	absolute, err := filepath.Abs(s.file)
	if err != nil {
		return none, err
	}
	name, err := s.said.Complete(filepath.ToSlash(absolute), func(string) (bool, error) { return false, nil })
	if unclear := (*api.AmbiguousName)(nil); errors.As(err, &unclear) {
		return none, &api.Error{Kind: api.KindInvalid, Field: "file", Message: unclear.Error(), Hint: howToSay(unclear.Readings)}
	}
	if err != nil {
		return none, err
	}
	switch {
	case !meta.ValidName(name.Agent) || !meta.ValidName(name.Version):
		return none, api.InvalidField("agent", "%q %q cannot be an agent and its version", name.Agent, name.Version)
	case name.Arch == "":
		return none, &api.Error{
			Kind: api.KindInvalid, Field: "arch", Message: "the arch of " + s.file + " is not known, and it is signed with it",
			Hint: "give --arch, such as --arch linux_amd64",
		}
	}
	if err := api.ValidArch(name.Arch); err != nil {
		return none, api.InvalidField("arch", "%q %v", name.Arch, err)
	}
	return trust.Release(name.Agent, name.Version, name.Arch), nil
}

func (s *signing) configSubject() (trust.Subject, error) {
	switch {
	case !meta.ValidName(s.said.Agent):
		return trust.Subject{}, &api.Error{Kind: api.KindInvalid, Field: "agent", Message: "whose configuration it is must be said", Hint: "give --agent NAME"}
	case s.said.Version != "" || s.said.Arch != "":
		return trust.Subject{}, api.InvalidField("config", "a configuration has no version and no arch: leave --version and --arch out")
	}
	a := meta.DesiredAgent{Name: s.said.Agent, ConfigFileName: s.config}
	if err := a.Validate(); err != nil {
		return trust.Subject{}, api.InvalidField("config", "%v", err)
	}
	return trust.Config(s.said.Agent, s.config), nil
}
