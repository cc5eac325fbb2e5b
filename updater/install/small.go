package install

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/go-resty/resty/v2"

	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/job"
)

// digestFileLimit bounds a .md5 file: one line of md5sum is far shorter.
const digestFileLimit = 4 << 10

// small reads files that fit into memory.
type small struct {
	client  *resty.Client
	stall   time.Duration
	retries int
}

// getFile reads the whole file, at most limit bytes, with the same patience as for
// a tarball.
func (g small) getFile(ctx context.Context, url string, limit int64) ([]byte, error) {
	if !isWeb(url) {
		return nil, failedForGood(CodeBadJob, "cannot download %s: it is not an http or https URL", meta.RedactURL(url))
	}
	m := newMirrors([]string{url}, g.retries)
	for {
		b, back := g.tryOnce(ctx, url, limit)
		if back == nil {
			return b, nil
		}
		if err := g.againAfter(ctx, m, *back); err != nil {
			return nil, err
		}
	}
}

// againAfter waits until the next try at the only address of m, or says why there
// is none.
func (g small) againAfter(ctx context.Context, m *mirrors, back setback) *Error {
	if isOurFault(back.err.Code) {
		return back.err
	}
	next := m.afterSetback(back)
	if next.err != nil {
		return next.err
	}
	if !pause.For(ctx, next.wait) {
		return failedBecause(CodeCancelled, "cannot download %s: %w", meta.RedactURL(m.currentURL()), ctx.Err())
	}
	return nil
}

func (g small) tryOnce(ctx context.Context, url string, limit int64) ([]byte, *setback) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := g.client.R().SetContext(ctx).Get(url)
	if err != nil {
		return nil, &setback{err: explainUnreached(ctx, meta.RedactURL(url), err)}
	}
	body := resp.RawBody()
	defer discardBody(body)
	if status := resp.StatusCode(); status != http.StatusOK {
		return nil, &setback{err: refusedBy(meta.RedactURL(url), status), wait: retryAfter(resp.Header(), time.Now())}
	}
	b, err := io.ReadAll(io.LimitReader(newStream(ctx, body, nil, g.stall, cancel), limit+1))
	if err != nil {
		return nil, &setback{err: onDisk("download "+meta.RedactURL(url), explainBroken(ctx, meta.RedactURL(url), err))}
	}
	if int64(len(b)) > limit {
		return nil, &setback{err: failedForGood(CodeTooLarge, "cannot download %s: it has more than %d bytes", meta.RedactURL(url), limit)}
	}
	return b, nil
}

// wantedDigests finds what the tarball must hash to, asking the server when the job
// does not say. Without any digest nothing is installed.
func (g small) wantedDigests(ctx context.Context, j job.Install) (digests, error) {
	want := newDigests(j.MD5, j.SHA256)
	if want != (digests{}) {
		return want, nil
	}
	if j.MD5URL == "" {
		return want, failedForGood(CodeNoDigest, "cannot verify %s %s: neither a digest nor the address of one is given", j.Agent, j.Version)
	}
	b, err := g.getFile(ctx, j.MD5URL, digestFileLimit)
	if err != nil {
		return want, err
	}
	md5, err := meta.ParseMD5File(b)
	if err != nil {
		return want, failedBecause(CodeBadDigestFile, "cannot use %s: %w", meta.RedactURL(j.MD5URL), err)
	}
	return digests{md5: md5}, nil
}

// FetchMD5 asks for the digest that the md5sum-format file at url holds now:
// that is how a release made anew under its old name is noticed. Every error is
// an [*Error].
func FetchMD5(ctx context.Context, url string, limits job.Limits, r job.Route) (string, error) {
	client, err := newClient(r, limits.StallTimeout)
	if err != nil {
		return "", err
	}
	g := small{client: client, stall: limits.StallTimeout}
	want, err := g.wantedDigests(ctx, job.Install{MD5URL: url})
	return want.md5, err
}
