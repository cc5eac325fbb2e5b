package release

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/internal/unpack"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// Config is what a [Store] needs. Zero limits mean the defaults in brackets.
type Config struct {
	Blobs       Blobs
	Incoming    string // directory for what is arriving, in the same filesystem as a [Dir]
	MaxTarball  int64  // bytes [2 GiB]
	MaxUnpacked int64  // bytes [8 GiB]
	MaxFiles    int    // [200 000]
	Fetch       Fetch
}

// Store takes artifacts in and gives them out.
type Store struct {
	Blobs
	incoming   string
	maxTarball int64
	unpack     unpack.Limits
	fetch      *fetcher
}

// Open makes the store ready and sweeps what a crash left behind.
func Open(c Config) (*Store, error) {
	if err := os.MkdirAll(c.Incoming, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open the artifact store: %w", err)
	}
	if _, err := sweepIncoming(c.Incoming); err != nil {
		return nil, err
	}
	limits := unpack.DefaultLimits()
	if c.MaxUnpacked > 0 {
		limits.MaxBytes = c.MaxUnpacked
	}
	if c.MaxFiles > 0 {
		limits.MaxFiles = c.MaxFiles
	}
	if c.MaxTarball <= 0 {
		c.MaxTarball = 2 << 30
	}
	return &Store{Blobs: c.Blobs, incoming: c.Incoming, maxTarball: c.MaxTarball, unpack: limits, fetch: newFetcher(c.Fetch)}, nil
}

// Declared is what is said about a tarball before it arrives.
type Declared struct {
	Agent   string
	Version string
	Arch    string // empty: told from the programs inside
	Size    int64  // bytes; 0: not announced
	SHA256  string // what the sender has computed; empty: not announced
	MD5     string // what an older server's file beside the tarball says; empty: there is none

	Origin Origin // how the place is reached that a tarball is fetched from
	Look   bool   // it is only looked at: nothing is kept
}

func (d Declared) validate() error {
	switch {
	case !meta.ValidName(d.Agent):
		return invalidField("agent", "", "%q cannot name an agent", printable.Clip(d.Agent))
	case !meta.ValidName(d.Version):
		return invalidField("version", "", "%q cannot be a version", printable.Clip(d.Version))
	}
	if d.Arch == "" {
		return nil
	}
	if err := api.ValidArch(d.Arch); err != nil {
		return invalidField("arch", "", "%q %v", printable.Clip(d.Arch), err)
	}
	return nil
}

// Receive hashes, checks and keeps a tarball. Refusals are [*api.Error]s of
// KindInvalid or KindTooLarge; nothing is kept of a tarball that is refused.
func (s *Store) Receive(ctx context.Context, d Declared, r io.Reader) (api.Artifact, error) {
	if err := d.validate(); err != nil {
		return api.Artifact{}, err
	}
	f, err := createIncoming(s.incoming)
	if err != nil {
		return api.Artifact{}, fmt.Errorf("cannot receive artifact: %w", err)
	}
	defer func() { _ = discardIncoming(f) }()
	a, err := s.inspectTarball(ctx, d, r, f)
	if err != nil {
		return api.Artifact{}, err
	}
	if err := s.Put(ctx, a.SHA256, f, a.Size); err != nil {
		return api.Artifact{}, err
	}
	return a, nil
}

// inspectTarball reads a tarball to its end, copying it to w, and describes it.
func (s *Store) inspectTarball(ctx context.Context, d Declared, r io.Reader, w io.Writer) (api.Artifact, error) {
	if d.Size > s.maxTarball {
		return api.Artifact{}, s.tooLarge()
	}
	in := newMeter(r, w, s.maxTarball)
	var found binaries
	var top topLevel
	look := func(e unpack.Entry) error {
		top.noteEntry(e.Path)
		return found.inspectEntry(e)
	}
	if _, err := unpack.Release(ctx, in, s.unpack, look); err != nil {
		if bad := (*unpack.Error)(nil); errors.As(err, &bad) && !in.over && in.writeErr == nil {
			return api.Artifact{}, explainRefusal(d, in.head, top, bad)
		}
		return api.Artifact{}, s.whyRefused(in, err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil { // what the archive's reader left
		return api.Artifact{}, s.whyRefused(in, err)
	}
	a := in.artifactOf(d)
	if err := d.compareWith(a); err != nil {
		return api.Artifact{}, err
	}
	if a.Arch == "" {
		arch, err := found.deriveArch()
		if err != nil {
			return api.Artifact{}, err
		}
		a.Arch = arch
	}
	a.Warnings = found.archWarnings(a.Arch)
	return a, nil
}

// compareWith compares what was announced with what arrived.
func (d Declared) compareWith(a api.Artifact) error {
	if d.Size > 0 && d.Size != a.Size {
		return invalidField("size", "send it again", "%d bytes arrived instead of the %d announced", a.Size, d.Size)
	}
	if d.MD5 != "" && d.MD5 != a.MD5 {
		return &api.Error{Kind: api.KindInvalid, Field: "md5", Message: "its md5 is " + a.MD5 + ", and its .md5 file says " + d.MD5, Err: ErrContradicted}
	}
	if d.SHA256 != "" && d.SHA256 != a.SHA256 {
		return invalidField("sha256", "send it again", "what arrived has the sha256 %s instead of the one announced, %s", a.SHA256, printable.Clip(d.SHA256))
	}
	return nil
}

// whyRefused says whose fault it is that a tarball could not be taken.
func (s *Store) whyRefused(in *meter, err error) error {
	switch {
	case in.over:
		return s.tooLarge()
	case in.writeErr != nil:
		return fmt.Errorf("cannot receive artifact: %w", in.writeErr)
	}
	return &sourceError{err}
}

// sourceError is a failure of where the tarball came from, not of ours.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "cannot receive artifact: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

var hints = map[unpack.Reason]string{
	unpack.NoControl:    "pack from inside the release's directory: tar -czf ../agent-1.0.0.tar.gz .",
	unpack.BadControl:   "control must be an executable script or program: chmod +x control",
	unpack.Corrupt:      "a release is a gzipped tar file: tar -czf agent-1.0.0.tar.gz …",
	unpack.Truncated:    "send it again",
	unpack.TooManyFiles: "ask the administrator of ops-meta to raise the limit",
	unpack.TooManyBytes: "ask the administrator of ops-meta to raise the limit",
}

func (s *Store) tooLarge() error {
	e := api.Errorf(api.KindTooLarge, "the tarball is larger than the %d bytes that are allowed", s.maxTarball)
	e.Hint = "ask the administrator of ops-meta to raise the limit"
	return e
}

func invalidField(field, hint, format string, args ...any) *api.Error {
	e := api.InvalidField(field, format, args...)
	e.Hint = hint
	return e
}

// Unused lists the content that no release refers to and that nobody has put
// for as long as grace, so that an upload whose release is just being
// registered is not among it.
func (s *Store) Unused(ctx context.Context, used map[string]bool, grace time.Duration) ([]Blob, error) {
	before := time.Now().Add(-grace)
	var unused []Blob
	err := s.List(ctx, func(b Blob) error {
		if !used[b.SHA256] && b.Modified.Before(before) {
			unused = append(unused, b)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list unused artifacts: %w", err)
	}
	return unused, nil
}

// meter copies what is read, hashes and counts it, and stops at a limit.
type meter struct {
	r           io.Reader
	w           io.Writer
	md5, sha256 hash.Hash
	blake2b     hash.Hash // what signatures are made over
	size, limit int64
	over        bool
	head        []byte // the first headBytes
	writeErr    error
}

func newMeter(r io.Reader, w io.Writer, limit int64) *meter {
	m := &meter{r: r, md5: md5.New(), sha256: sha256.New(), blake2b: trust.NewDigest(), limit: limit}
	m.w = io.MultiWriter(w, m.md5, m.sha256, m.blake2b)
	return m
}

var errOver = errors.New("larger than allowed")

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if missing := headBytes - len(m.head); missing > 0 {
		m.head = append(m.head, p[:min(n, missing)]...)
	}
	if m.size += int64(n); m.size > m.limit {
		m.over = true
		return 0, errOver
	}
	if _, werr := m.w.Write(p[:n]); werr != nil {
		m.writeErr = werr
		return 0, werr
	}
	return n, err
}

func (m *meter) artifactOf(d Declared) api.Artifact {
	return api.Artifact{
		Agent: d.Agent, Version: d.Version, Arch: d.Arch, Size: m.size,
		MD5: hex.EncodeToString(m.md5.Sum(nil)), SHA256: hex.EncodeToString(m.sha256.Sum(nil)), Blake2b: hex.EncodeToString(m.blake2b.Sum(nil)),
	}
}
