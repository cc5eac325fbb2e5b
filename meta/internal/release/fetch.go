package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Fetch says how artifacts that are hosted elsewhere may be fetched. Zero
// values mean the defaults in brackets.
type Fetch struct {
	// Deny are the networks that the server never connects to, so that nobody
	// can use it to reach what only it can reach [DefaultDeny]. It is checked
	// against the address that is really dialled, after each redirect too. An
	// HTTP proxy given by the environment is dialled instead of the host, and
	// then has to deny by itself.
	Deny         []netip.Prefix
	StallTimeout time.Duration // without a byte [30 s]
	Timeout      time.Duration // altogether [1 h]
}

// DefaultDeny are the networks without artifacts but with secrets: link-local
// ones, where clouds serve credentials to their machines, the two other
// addresses they use for it, and what is no host at all. Private networks and
// loopback are not among them: mirrors live there.
func DefaultDeny() []netip.Prefix {
	var deny []netip.Prefix
	for _, s := range []string{
		"169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32",
		"0.0.0.0/8", "::/128", "224.0.0.0/4", "ff00::/8", "255.255.255.255/32",
	} {
		deny = append(deny, netip.MustParsePrefix(s))
	}
	return deny
}

const maxRedirects = 5

var (
	errDenied  = errors.New("the address is in a network that this server must not connect to")
	errStalled = errors.New("stalled: no byte arrived for too long")
)

// fetcher gets tarballs from elsewhere.
type fetcher struct {
	client         *http.Client
	stall, timeout time.Duration
}

func newFetcher(c Fetch) *fetcher {
	if c.Deny == nil {
		c.Deny = DefaultDeny()
	}
	if c.StallTimeout <= 0 {
		c.StallTimeout = 30 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Hour
	}
	dialer := &net.Dialer{Timeout: c.StallTimeout, Control: DenyNetworks(c.Deny)}
	return &fetcher{
		stall: c.StallTimeout, timeout: c.Timeout,
		client: &http.Client{
			CheckRedirect: checkRedirect,
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext,
				TLSHandshakeTimeout: c.StallTimeout, ResponseHeaderTimeout: c.StallTimeout,
				DisableKeepAlives: true, DisableCompression: true,
			},
		},
	}
}

// DenyNetworks is for a net.Dialer: it refuses a connection to one of the networks when the name has been resolved, so that a name
// cannot mean one address when it is checked and another when it is dialled.
func DenyNetworks(deny []netip.Prefix) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		for _, ip := range meantBy(ap.Addr()) {
			if slices.ContainsFunc(deny, func(p netip.Prefix) bool { return p.Contains(ip) }) {
				return fmt.Errorf("%s: %w", ip, errDenied)
			}
		}
		return nil
	}
}

func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if len(via) > 0 && (r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme) {
		r.Header.Del("Authorization") // it is for the place that was named
	}
	return checkURL(r.URL)
}

func checkURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return errors.New("want an http or https URL")
	case u.User != nil:
		return errors.New("the URL must not contain credentials")
	}
	return nil
}

// openURL opens an address; the body ends with an error when it stalls, and
// closing it ends everything.
func (f *fetcher) openURL(ctx context.Context, address string, from Origin) (io.ReadCloser, int64, error) {
	u, err := url.Parse(address)
	if err == nil {
		err = checkURL(u)
	}
	if err != nil {
		return nil, 0, err
	}
	ctx, stop := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("it was not complete before its deadline of %s", f.timeout))
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() { cancel(context.Canceled); stop() }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		end()
		return nil, 0, err
	}
	resp, err := from.sendRequest(f.client, req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		end()
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		end()
		_ = resp.Body.Close()
		return nil, 0, unexpectedStatus(resp)
	}
	body := &watched{ReadCloser: resp.Body, ctx: ctx, end: end, stall: f.stall}
	body.timer = time.AfterFunc(f.stall, func() { cancel(errStalled) })
	return body, max(resp.ContentLength, 0), nil
}

// errAbsent is the cause when a server answers that it has no such thing.
var errAbsent = errors.New("not there")

func unexpectedStatus(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusForbidden, http.StatusGone:
		return fmt.Errorf("it answers %s: %w", resp.Status, errAbsent)
	}
	return fmt.Errorf("it answers %s", resp.Status)
}

// watched is a body that must not stall.
type watched struct {
	io.ReadCloser
	ctx   context.Context
	end   func()
	stall time.Duration
	timer *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.timer.Reset(w.stall)
	}
	if err != nil && !errors.Is(err, io.EOF) && context.Cause(w.ctx) != nil {
		err = context.Cause(w.ctx)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	w.end()
	return w.ReadCloser.Close()
}

// Register fetches, hashes and checks a tarball that stays where it is, at
// {base}/{arch}/{agent}-{version}.tar.gz. Nothing of it is kept.
func (s *Store) Register(ctx context.Context, d Declared, base string) (api.Artifact, error) {
	if d.Arch == "" {
		return api.Artifact{}, invalidField("arch", "give the arch, such as linux_amd64", "is needed for an artifact hosted elsewhere, because it is a part of its address")
	}
	if err := d.validate(); err != nil {
		return api.Artifact{}, err
	}
	base = strings.TrimRight(base, "/")
	a, err := s.fetchInto(ctx, d, tarballAt(base, d.Arch, d), func(d Declared, r io.Reader) (api.Artifact, error) {
		return s.inspectTarball(ctx, d, r, io.Discard)
	})
	a.External, a.SignedElsewhere = base, a.Signature != ""
	return a, err
}

// oldArches are those that older servers' tarballs are looked for.
var oldArches = []string{"linux_amd64", "linux_arm64", "linux_386", "darwin_amd64", "darwin_arm64"}

// Adopt fetches a release from the first of several bases that has it and
// keeps it. Older servers had their tarballs either at {base}/{arch}/, then
// all arches that are there are taken, or at {base}/ itself. d.Arch is not
// used. What an .md5 file beside a tarball contradicts is refused as
// [ErrContradicted], whatever else was found: hosts would not have taken it.
func (s *Store) Adopt(ctx context.Context, d Declared, bases []string) ([]api.Artifact, error) {
	d.Arch = ""
	if err := d.validate(); err != nil {
		return nil, err
	}
	var errs []error
	for _, base := range bases {
		found, err := s.adoptFrom(ctx, d, strings.TrimRight(base, "/"))
		if errors.Is(err, ErrContradicted) {
			return nil, err
		}
		if len(found) > 0 {
			return found, nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return nil, invalidField("tarball", "", "no address to fetch %s %s from", d.Agent, d.Version)
	}
	return nil, errors.Join(errs...)
}

// adoptFrom looks at one base. A server that has one arch but fails at the
// next is not asked further: what it gave is taken.
func (s *Store) adoptFrom(ctx context.Context, d Declared, base string) ([]api.Artifact, error) {
	keep := func(d Declared, r io.Reader) (api.Artifact, error) {
		if d.Look {
			return s.inspectTarball(ctx, d, r, io.Discard)
		}
		return s.Receive(ctx, d, r)
	}
	var found []api.Artifact
	for _, arch := range oldArches {
		d.Arch = arch
		a, err := s.fetchBesideMD5(ctx, d, tarballAt(base, arch, d), keep)
		switch {
		case err == nil:
			found = append(found, a)
		case !errors.Is(err, errAbsent):
			return found, err
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	d.Arch = ""
	a, err := s.fetchBesideMD5(ctx, d, tarballAt(base, "", d), keep)
	if err != nil {
		return nil, err
	}
	return []api.Artifact{a}, nil
}

func tarballAt(base, arch string, d Declared) string {
	if arch != "" {
		base += "/" + arch
	}
	return base + "/" + meta.TarballName(d.Agent, d.Version)
}

// maxMD5File bounds an .md5 file: one line of md5sum is far shorter.
const maxMD5File = 4 << 10

// ErrContradicted is the cause when an .md5 file has another digest than the
// tarball beside it, or none.
var ErrContradicted = errors.New("the .md5 file contradicts the tarball")

// fetchBesideMD5 is fetchInto for older servers' tarballs, most of which have
// an .md5 file beside them.
func (s *Store) fetchBesideMD5(ctx context.Context, d Declared, address string, take func(Declared, io.Reader) (api.Artifact, error)) (a api.Artifact, err error) {
	if d.MD5, err = s.md5At(ctx, address+".md5", d.Origin); err != nil {
		return a, err
	}
	return s.fetchInto(ctx, d, address, take)
}

// md5At is the digest in an .md5 file, or empty when there is no such file.
func (s *Store) md5At(ctx context.Context, address string, from Origin) (string, error) {
	body, _, err := s.fetch.openURL(ctx, address, from)
	if errors.Is(err, errAbsent) {
		return "", nil
	}
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(body, maxMD5File))
		_ = body.Close()
	}
	if err != nil {
		e := invalidField("external", "", "cannot fetch %s", address)
		e.Err = withoutURL(err)
		return "", e
	}
	md5, err := meta.ParseMD5File(data)
	if err != nil {
		return "", &api.Error{Kind: api.KindInvalid, Field: "md5", Message: fmt.Sprintf("cannot use %s: %v", address, err), Err: ErrContradicted}
	}
	return md5, nil
}

// fetchInto opens an address and hands it to take with the size it announces.
func (s *Store) fetchInto(ctx context.Context, d Declared, address string, take func(Declared, io.Reader) (api.Artifact, error)) (api.Artifact, error) {
	body, size, err := s.fetch.openURL(ctx, address, d.Origin)
	if err != nil {
		e := invalidField("external", "", "cannot fetch %s", address)
		e.Err = withoutURL(err)
		return api.Artifact{}, e
	}
	defer func() { _ = body.Close() }()
	if d.Size == 0 {
		d.Size = size
	}
	a, err := take(d, body)
	var source *sourceError
	if errors.As(err, &source) && ctx.Err() == nil {
		return api.Artifact{}, invalidField("external", "", "cannot fetch %s: %v", address, source.err)
	}
	if err == nil {
		s.addSignature(ctx, &a, address, d.Origin)
	}
	return a, err
}

// withoutURL is err without the method and address that net/http puts before it.
func withoutURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
