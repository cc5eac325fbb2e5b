package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/trust"
)

func (a *app) publishCommand() *cobra.Command {
	p := publishing{signer: signer{app: a, online: true}}
	c := &cobra.Command{
		Use: "publish FILE|URL", Short: "Publish a release's tarball", Args: cobra.ExactArgs(1),
		Long: `Publish a tarball with a control script at its root. Agent and version come from
the file's name, {agent}-{version}.tar.gz, where that can be read in one way; the
arch from the name too (…-linux_arm64.tar.gz) or from the directory it is in
(linux_amd64/…), else from the programs inside, else it is linux_amd64.

With a URL, {base}/{arch}/{agent}-{version}.tar.gz, the tarball stays where it is:
the server fetches it once, checks and hashes it. With --user or --ca-file, or a login
in the URL, it may have any path and the server keeps it, since hosts have no login there.

With --sign the release is signed here with a release key, which stays here; the server
only stores signatures. A signature that ops-meta sign or minisign has made is taken from
FILE.minisig or --signature. --signature-only adds one to what is published already.`,
		Example: "  ops-meta publish node_exporter-1.9.1.tar.gz\n  ops-meta publish build.tgz --agent node_exporter --version 1.9.1 --arch linux_arm64\n" +
			"  ops-meta publish node_exporter-1.9.1.tar.gz --sign release.key\n  ops-meta publish node_exporter-1.9.1.tar.gz --signature-only",
		RunE: func(cmd *cobra.Command, args []string) error {
			p.file = args[0]
			if p.keyFile != "" && p.signature != "" {
				return &usage{command: cmd, err: errors.New("--sign makes a signature and --signature brings one: give one of them")}
			}
			for _, flag := range []string{"user", "password-file", "ca-file"} {
				if cmd.Flags().Changed(flag) && !p.isElsewhere() {
					return &usage{command: cmd, err: fmt.Errorf("--%s is for a tarball that the server fetches from a URL, and %s is a file here", flag, p.file)}
				}
			}
			return p.run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&p.said.Agent, "agent", "", "name of the agent")
	f.StringVar(&p.said.Version, "version", "", "version of the release")
	f.StringVar(&p.said.Arch, "arch", "", "such as linux_amd64")
	p.login.addFlags(c)
	f.StringVar(&p.notes, "notes", "", "notes on the release")
	f.StringVar(&p.channel, "channel", "", "move this channel of the agent to the version once it is published, such as beta")
	f.StringVar(&p.signature, "signature", "", "minisign file (default FILE.minisig when it is there)")
	p.addSignFlags(f)
	f.BoolVar(&p.signatureOnly, "signature-only", false, "only add the signature, to what is published already")
	return c
}

// publishing is one publish.
type publishing struct {
	signer
	said                   api.Naming
	file, notes, signature string
	channel                string // that is moved to the version
	signatureOnly          bool
	login                  fetchLogin
}

func (p *publishing) run(ctx context.Context) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	if err := p.completeFromName(ctx, c); err != nil {
		return err
	}
	if p.keyFile != "" { // before anything is sent: the password may be wrong
		if err := p.loadKey(); err != nil {
			return err
		}
	}
	send := p.uploadTarball
	switch {
	case p.signatureOnly:
		send = p.findPublished
	case p.isElsewhere():
		send = p.registerTarball
	}
	art, err := send(ctx, c)
	if err != nil {
		return err
	}
	if p.notes != "" {
		if _, err := c.PutReleaseNotes(ctx, p.said.Agent, p.said.Version, p.notes); err != nil {
			return err
		}
	}
	if art, err = p.addSignature(ctx, c, art); err != nil {
		return err
	}
	// At the end: schedules take it up at once, and it must be whole by then.
	if p.channel != "" {
		if _, err := c.PutChannel(ctx, api.Channel{Agent: p.said.Agent, Name: p.channel, Version: p.said.Version}, false); err != nil {
			return err
		}
	}
	return p.print(p.out, art, func(w io.Writer) { p.reportArtifact(w, art) })
}

// completeFromName completes what no flag says from the file's name.
func (p *publishing) completeFromName(ctx context.Context, c *api.Client) error {
	path := p.file
	if !p.isElsewhere() {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		path = filepath.ToSlash(absolute)
	}
	read, err := p.said.Complete(path, func(agent string) (bool, error) {
		_, err := c.Agent(ctx, agent)
		if problem := (*api.Problem)(nil); errors.As(err, &problem) && problem.Status == http.StatusNotFound {
			return false, nil
		}
		return err == nil, err
	})
	if unclear := (*api.AmbiguousName)(nil); errors.As(err, &unclear) {
		return &api.Error{Kind: api.KindInvalid, Field: "file", Message: unclear.Error(), Hint: howToSay(unclear.Readings)}
	}
	p.said = read
	return err
}

// howToSay are the flags that make a name clear.
func howToSay(readings []api.Naming) string {
	if len(readings) == 0 {
		return "name it AGENT-VERSION.tar.gz, or give --agent and --version"
	}
	var ways []string
	for _, r := range readings {
		way := "--agent " + r.Agent + " --version " + r.Version
		if r.Arch != "" {
			way += " --arch " + r.Arch
		}
		ways = append(ways, way)
	}
	return "say which: " + strings.Join(ways, ", or ")
}

// isElsewhere reports whether the tarball is on another server and stays there.
func (p *publishing) isElsewhere() bool {
	return strings.HasPrefix(p.file, "http://") || strings.HasPrefix(p.file, "https://")
}

func (p *publishing) uploadTarball(ctx context.Context, c *api.Client) (api.Artifact, error) {
	if plainfile.CheckLinked(p.file) != nil {
		return api.Artifact{}, &api.Error{Kind: api.KindInvalid, Message: p.file + " is not a file", Hint: "pack it first: tar -C DIR -czf AGENT-VERSION.tar.gz ."}
	}
	f, err := os.Open(p.file)
	if err != nil {
		return api.Artifact{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return api.Artifact{}, err
	}
	body, done := p.showProgress(f, info.Size(), meta.TarballName(p.said.Agent, p.said.Version))
	defer done()
	art, err := c.Upload(ctx, api.Upload{Agent: p.said.Agent, Version: p.said.Version, Arch: p.said.Arch, Tarball: body, Size: info.Size()})
	if problem := (*api.Problem)(nil); errors.As(err, &problem) { // its commands are to be typed here
		problem.Hint = strings.ReplaceAll(problem.Hint, meta.TarballName(p.said.Agent, p.said.Version), shellWord(p.file))
	}
	return art, err
}

// shellWord is a file's name as a shell takes it for one word.
func shellWord(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-+/@%,:", r)
	}) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// showProgress shows on a terminal how much of r has been read.
func (a *app) showProgress(r io.Reader, size int64, what string) (io.Reader, func()) {
	if !onTerminal(a.err) || a.output != "table" {
		return r, func() {}
	}
	bar := progressbar.NewOptions64(size, progressbar.OptionSetWriter(a.err), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription(what), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish(), progressbar.OptionUseANSICodes(true))
	return io.TeeReader(r, bar), func() { _ = bar.Finish() }
}

// findPublished finds the artifact that a signature is added to.
func (p *publishing) findPublished(ctx context.Context, c *api.Client) (api.Artifact, error) {
	rel, err := c.Release(ctx, p.said.Agent, p.said.Version)
	if err != nil {
		return api.Artifact{}, err
	}
	found, err := artifactsFor(rel, p.said.Arch)
	switch {
	case err != nil:
		return api.Artifact{}, err
	case len(found) > 1:
		return api.Artifact{}, &api.Error{
			Kind: api.KindInvalid, Field: "arch", Message: fmt.Sprintf("%s %s is published for several arches: %s", rel.Agent, rel.Version, archesOf(rel)),
			Hint: "say which with --arch; ops-meta releases sign signs all",
		}
	}
	return found[0], nil
}

// registerTarball makes the server fetch a tarball, which stays where it is.
// One that hosts could not get by themselves, because they have no login there
// or do not believe its authority, is kept by the server.
func (p *publishing) registerTarball(ctx context.Context, c *api.Client) (api.Artifact, error) {
	as, err := p.login.fetchAs()
	if err != nil {
		return api.Artifact{}, err
	}
	if u, err := url.Parse(p.file); err == nil && (u.User != nil || as != (api.FetchAs{})) {
		return c.RegisterArtifact(ctx, p.said.Agent, p.said.Version, api.NewArtifact{Arch: p.said.Arch, From: p.file, As: as})
	}
	dir, _, _ := cutLast(p.file, "/")
	base, arch, ok := cutLast(dir, "/")
	if p.said.Arch == "" && ok {
		p.said.Arch = arch
	}
	if api.ValidArch(p.said.Arch) != nil || !strings.HasSuffix(p.file, "/"+p.said.Arch+"/"+meta.TarballName(p.said.Agent, p.said.Version)) {
		return api.Artifact{}, &api.Error{
			Kind: api.KindInvalid, Message: "hosts find a tarball at {base}/{arch}/{agent}-{version}.tar.gz; this address is not like that",
			Hint: "such as http://releases.example/falcon/linux_amd64/falcon-agent-5.1.3.tar.gz",
		}
	}
	return c.RegisterArtifact(ctx, p.said.Agent, p.said.Version, api.NewArtifact{Arch: p.said.Arch, External: base})
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// addSignature gives the server the signature that is made here, was given, or lies
// beside the file.
func (p *publishing) addSignature(ctx context.Context, c *api.Client, art api.Artifact) (api.Artifact, error) {
	if p.keyFile == "" {
		return p.addSignatureFile(ctx, c, art)
	}
	if p.isElsewhere() {
		return p.signDownloaded(ctx, c, art)
	}
	f, err := os.Open(p.file)
	if err != nil {
		return art, err
	}
	defer f.Close() //nolint:errcheck // only read
	body, done := p.showProgress(f, art.Size, "signing "+filepath.Base(p.file))
	defer done()
	return p.signArtifact(ctx, c, art, body)
}

func (p *publishing) addSignatureFile(ctx context.Context, c *api.Client, art api.Artifact) (api.Artifact, error) {
	path := p.signature
	if path == "" {
		path = p.file + trust.Extension
	}
	if err := plainfile.CheckLinked(path); err != nil {
		return art, fmt.Errorf("cannot read the signature: %w", err)
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && p.signature == "" && !p.signatureOnly {
		return art, nil
	}
	if err != nil {
		return art, fmt.Errorf("cannot read the signature: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	return c.PutSignature(ctx, art, f)
}

func (p *publishing) reportArtifact(w io.Writer, art api.Artifact) {
	signed := ""
	if art.Signature != "" {
		signed = ", signed by " + cmp.Or(art.SignedBy, "an unknown key")
	}
	writef(w, "%s %s published for %s: %s, sha256 %s%s\n", art.Agent, art.Version, art.Arch, printable.Bytes(art.Size), art.SHA256, signed)
	if p.channel != "" {
		writef(w, "channel %s of %s points at %s\n", p.channel, art.Agent, art.Version)
	}
	if art.NewAgent {
		writef(w, "%s\n", p.paint(p.out, yellow, p.newAgentText(art)))
	}
	for _, warning := range art.Warnings {
		writef(w, "%s\n", p.paint(p.out, yellow, "warning: "+warning))
	}
}

// newAgentText says that nobody has heard of the agent before, and how to take
// it back: it may be a slip of the finger.
func (p *publishing) newAgentText(art api.Artifact) string {
	meant := ""
	if art.Resembles != "" {
		meant = fmt.Sprintf(" (did you mean %s?)", art.Resembles)
	}
	undo := fmt.Sprintf("ops-meta releases remove %s %s && ops-meta agents remove %s", art.Agent, art.Version, art.Agent)
	if p.channel != "" { // which holds the release
		undo = fmt.Sprintf("ops-meta channel remove %s %s && ", art.Agent, p.channel) + undo
	}
	return fmt.Sprintf("%s is a new agent%s; if that is a mistake: %s", art.Agent, meant, undo)
}
