package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

func (a *app) publishCommand() *cobra.Command {
	p := publishing{app: a}
	c := &cobra.Command{
		Use: "publish FILE|URL", Short: "Publish a release's tarball", Args: cobra.ExactArgs(1),
		Long: `Publish a tarball with a control script at its root. Agent and version come from
the file's name, {agent}-{version}.tar.gz; the arch from the directory it is in
(linux_amd64/…), else from the programs inside, else it is linux_amd64.

With a URL, {base}/{arch}/{agent}-{version}.tar.gz, the tarball stays where it is:
the server fetches it once, checks and hashes it.`,
		Example: "  ops-meta publish node_exporter-1.9.1.tar.gz\n  ops-meta publish build.tgz --agent node_exporter --version 1.9.1 --arch linux_arm64",
		RunE: func(cmd *cobra.Command, args []string) error {
			p.file = args[0]
			return p.run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&p.agent, "agent", "", "name of the agent")
	f.StringVar(&p.version, "version", "", "version of the release")
	f.StringVar(&p.arch, "arch", "", "such as linux_amd64")
	f.StringVar(&p.notes, "notes", "", "notes on the release")
	f.StringVar(&p.signature, "signature", "", "minisign file (default FILE.minisig when it is there)")
	return c
}

// publishing is one publish.
type publishing struct {
	*app
	file, agent, version, arch, notes, signature string
}

func (p *publishing) run(ctx context.Context) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	if err := p.derive(ctx, c); err != nil {
		return err
	}
	send := p.upload
	if strings.HasPrefix(p.file, "http://") || strings.HasPrefix(p.file, "https://") {
		send = p.register
	}
	art, err := send(ctx, c)
	if err != nil {
		return err
	}
	if p.notes != "" {
		if _, err := c.PutReleaseNotes(ctx, p.agent, p.version, p.notes); err != nil {
			return err
		}
	}
	if art, err = p.sign(ctx, c, art); err != nil {
		return err
	}
	return p.print(p.out, art, func(w io.Writer) { p.report(w, art) })
}

// derive completes what no flag says from the file's name.
func (p *publishing) derive(ctx context.Context, c *api.Client) error {
	if dir := filepath.Base(filepath.Dir(p.file)); p.arch == "" && api.ValidArch(dir) == nil {
		p.arch = dir
	}
	if p.agent != "" && p.version != "" {
		return nil
	}
	splits := splitName(filepath.Base(p.file))
	if len(splits) == 0 {
		return &api.Error{
			Kind: api.KindInvalid, Field: "file", Message: fmt.Sprintf("cannot tell agent and version from the name %s", filepath.Base(p.file)),
			Hint: "name it AGENT-VERSION.tar.gz, or give --agent and --version",
		}
	}
	agent, version := p.choose(ctx, c, splits)
	if p.agent == "" {
		p.agent = agent
	}
	if p.version == "" {
		p.version = version
	}
	return nil
}

// splitName lists the ways to read {agent}-{version}.tar.gz, the last dash
// before a digit first.
func splitName(name string) [][2]string {
	for _, suffix := range []string{".tar.gz", ".tgz"} {
		name = strings.TrimSuffix(name, suffix)
	}
	var splits [][2]string
	for i := len(name) - 2; i > 0; i-- {
		if name[i] == '-' && name[i+1] >= '0' && name[i+1] <= '9' {
			splits = append(splits, [2]string{name[:i], name[i+1:]})
		}
	}
	return splits
}

// choose prefers, when a name can be read in several ways, an agent that the
// server knows.
func (p *publishing) choose(ctx context.Context, c *api.Client, splits [][2]string) (agent, version string) {
	if len(splits) > 1 {
		known := slices.IndexFunc(splits, func(s [2]string) bool {
			_, err := c.Agent(ctx, s[0])
			return err == nil
		})
		if known > 0 {
			return splits[known][0], splits[known][1]
		}
	}
	return splits[0][0], splits[0][1]
}

func (p *publishing) upload(ctx context.Context, c *api.Client) (api.Artifact, error) {
	f, err := os.Open(p.file)
	if err != nil {
		return api.Artifact{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return api.Artifact{}, err
	}
	if !info.Mode().IsRegular() {
		return api.Artifact{}, &api.Error{Kind: api.KindInvalid, Message: p.file + " is not a file", Hint: "pack it first: tar -C DIR -czf AGENT-VERSION.tar.gz ."}
	}
	body, done := p.progress(f, info.Size())
	defer done()
	return c.Upload(ctx, api.Upload{Agent: p.agent, Version: p.version, Arch: p.arch, Tarball: body, Size: info.Size()})
}

// progress shows on a terminal how much has been sent.
func (p *publishing) progress(r io.Reader, size int64) (io.Reader, func()) {
	if !onTerminal(p.err) || p.output != "table" {
		return r, func() {}
	}
	bar := progressbar.NewOptions64(size, progressbar.OptionSetWriter(p.err), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription(meta.TarballName(p.agent, p.version)), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish(), progressbar.OptionUseANSICodes(true))
	return io.TeeReader(r, bar), func() { _ = bar.Finish() }
}

func (p *publishing) register(ctx context.Context, c *api.Client) (api.Artifact, error) {
	dir, _, _ := cutLast(p.file, "/")
	base, arch, ok := cutLast(dir, "/")
	if p.arch == "" && ok {
		p.arch = arch
	}
	if api.ValidArch(p.arch) != nil || !strings.HasSuffix(p.file, "/"+p.arch+"/"+meta.TarballName(p.agent, p.version)) {
		return api.Artifact{}, &api.Error{
			Kind: api.KindInvalid, Message: "hosts find a tarball at {base}/{arch}/{agent}-{version}.tar.gz; this address is not like that",
			Hint: "such as http://releases.example/falcon/linux_amd64/falcon-agent-5.1.3.tar.gz",
		}
	}
	return c.RegisterArtifact(ctx, p.agent, p.version, api.NewArtifact{Arch: p.arch, External: base})
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// sign stores the signature that was given or lies beside the file.
func (p *publishing) sign(ctx context.Context, c *api.Client, art api.Artifact) (api.Artifact, error) {
	path := p.signature
	if path == "" {
		path = p.file + ".minisig"
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && p.signature == "" {
		return art, nil
	}
	if err != nil {
		return art, fmt.Errorf("cannot read the signature: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	return c.PutSignature(ctx, art, f)
}

func (p *publishing) report(w io.Writer, art api.Artifact) {
	signed := ""
	if art.Signature != "" {
		signed = ", signed"
	}
	_, _ = fmt.Fprintf(w, "%s %s published for %s: %s, sha256 %s%s\n", art.Agent, art.Version, art.Arch, bytesText(art.Size), art.SHA256, signed)
	for _, warning := range art.Warnings {
		_, _ = fmt.Fprintln(w, p.paint(p.out, yellow, "warning: "+warning))
	}
}
