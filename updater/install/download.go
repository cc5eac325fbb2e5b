package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"
	"golang.org/x/time/rate"

	"github.com/ops-updater/ops-updater/internal/pause"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/job"
)

// download brings the whole tarball through one pass after the other until one
// has the wanted digest.
type download struct {
	job     job.Install
	client  *resty.Client
	limiter *rate.Limiter
	free    *guard
	want    digests
	report  func(job.Progress)

	impatient bool // there is another mirror to try, so a slow one is left

	verifier   verifier
	signatures map[string]trust.Signature // by the tarball's URL
	proof      job.Proof                  // once downloadAll has returned
}

// sizeLimit is the most bytes the tarball may have.
func (d *download) sizeLimit() int64 {
	if d.job.Size > 0 {
		return min(d.job.Size, d.job.Limits.MaxDownload)
	}
	return d.job.Limits.MaxDownload
}

// downloadAll returns with a pass that holds the wanted tarball, still being unpacked.
func (d *download) downloadAll(ctx context.Context, p *part, s *stage, resume bool) (*pass, error) {
	m := newMirrors(d.job.Tarballs, d.job.Limits.Retries)
	ps := startPass(ctx, p, s, d.job.Verify)
	var err error
	if resume {
		err = ps.replayPart(ctx)
	}
	for err == nil {
		d.impatient = m.hasFresh()
		back := d.tryURL(ctx, m.currentURL(), ps)
		if back == nil {
			return ps, nil
		}
		next := decision{err: back.err}
		if !isOurFault(back.err.Code) {
			next = m.afterSetback(*back)
		}
		switch {
		case next.err != nil:
			err = next.err
		case next.fresh:
			ps, err = d.startAfresh(ctx, ps)
		}
		if err == nil && !pause.For(ctx, next.wait) {
			err = ctx.Err()
		}
	}
	return nil, errors.Join(onDisk("download the release", err), ps.abandonUnpacking())
}

// isOurFault reasons are ours, not the server's: another mirror does not help.
func isOurFault(reason string) bool {
	switch reason {
	case CodeNoSpace, CodeReadOnly, CodeNoPermission, CodeIO, CodeCancelled:
		return true
	default:
		return false
	}
}

// startAfresh throws away what there is and starts from the first byte.
func (d *download) startAfresh(ctx context.Context, old *pass) (*pass, error) {
	if err := old.abandonUnpacking(); err != nil {
		return old, err
	}
	if err := old.part.beginEmpty(); err != nil {
		return old, err
	}
	return startPass(ctx, old.part, old.stage, d.job.Verify), nil
}

// tryURL goes on with the download at one mirror. It returns nil when the pass
// holds the wanted tarball.
func (d *download) tryURL(ctx context.Context, url string, ps *pass) *setback {
	before := ps.size
	if back := d.askForSignature(ctx, url); back != nil {
		return back
	}
	err := d.attemptOnce(ctx, url, ps)
	var refusal *refusal
	switch {
	case errors.As(err, &refusal):
		return &setback{err: refusal.err, wait: refusal.wait}
	case errors.Is(err, errAfresh):
		return &setback{err: errAfresh, wrong: true} // which mirror is to blame is not known
	case err != nil:
		e := onDisk("download the release", err)
		return &setback{err: e, wrong: isWrong(e.Code), pure: ps.pure, gained: ps.size - before}
	case !d.want.match(ps.finalDigests()):
		return &setback{err: d.wrongDigest(url, ps), wrong: true, pure: ps.pure}
	}
	return d.judgeSignature(url, ps)
}

// askForSignature comes before the tarball: what nobody has signed need not be
// downloaded. Where that is no more than a warning it is judged afterwards.
func (d *download) askForSignature(ctx context.Context, url string) *setback {
	if _, have := d.signatures[url]; have || !d.verifier.Asks() {
		return nil
	}
	signature, back := d.verifier.askFor(ctx, url)
	if back == nil {
		d.signatures[url], d.proof = signature, job.Proof{}
		return nil
	}
	proof, failed := d.verifier.unlessRequired(back.err)
	if failed != nil {
		return back
	}
	d.proof = proof
	return nil
}

// judgeSignature judges the whole tarball from url.
func (d *download) judgeSignature(url string, ps *pass) *setback {
	signature, have := d.signatures[url]
	if !have { // not asked for, or d.proof says why there is none
		return nil
	}
	proof, failed := d.verifier.judge(signature, *ps.signed)
	if failed != nil {
		proof, failed = d.verifier.unlessRequired(failed)
	}
	if failed != nil {
		return &setback{err: failed}
	}
	d.proof = proof
	return nil
}

func isWrong(reason string) bool { return reason == CodeWrongSize || reason == CodeTooLarge }

func (d *download) wrongDigest(url string, ps *pass) *Error {
	head := make([]byte, 512)
	n, _ := ps.part.file.ReadAt(head, 0)
	if page := meta.PageIn(head[:n]); page != "" {
		return failedBecause(CodeWrongDigest, "what %s sends is not the release: %s", meta.RedactURL(url), page)
	}
	got := ps.finalDigests()
	want, have := d.want.sha256, got.sha256
	kind := "sha256"
	if want == "" || want == have {
		kind, want, have = "md5", d.want.md5, got.md5
	}
	return failedBecause(CodeWrongDigest, "the %s of %s is %s, and %s is wanted", kind, meta.RedactURL(url), have, want)
}

// refusal is an answer without content, and how long the server asks to wait.
type refusal struct {
	err  *Error
	wait time.Duration
}

func (r *refusal) Error() string { return r.err.Error() }

// attemptOnce makes one request and reads its body to the end.
func (d *download) attemptOnce(ctx context.Context, url string, ps *pass) error {
	if known := ps.part.origin.Total; known > 0 && ps.size == known {
		return nil // the part was complete already
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := d.newRequest(ctx, url, ps)
	if err != nil {
		return explainUnreached(ctx, meta.RedactURL(url), err)
	}
	body := resp.RawBody()
	defer discardBody(body)
	total, err := d.beginBody(resp, url, ps)
	if err != nil || (total > 0 && ps.size == total) {
		return err
	}
	if err := d.free.checkBefore(max(0, total-ps.size), total, ps.stage.written.Load()); err != nil {
		return err
	}
	from := newStream(ctx, body, d.limiter, d.job.Limits.StallTimeout, cancel)
	if d.impatient {
		from.wantRate(slowRate)
	}
	if err := d.copyBody(ps, from, total, meta.RedactURL(url)); err != nil {
		return explainBroken(ctx, meta.RedactURL(url), err)
	}
	if total > 0 && ps.size < total {
		return failedBecause(CodeUnreachable, "cannot download %s: it ends after %d of %d bytes", meta.RedactURL(url), ps.size, total)
	}
	return nil
}

func (d *download) newRequest(ctx context.Context, url string, ps *pass) (*resty.Response, error) {
	req := d.client.R().SetContext(ctx).SetHeader("Accept-Encoding", "identity")
	if ps.size > 0 {
		req.SetHeader("Range", fmt.Sprintf("bytes=%d-", ps.size))
		if v := ps.part.origin.validatorFor(url); v != "" {
			req.SetHeader("If-Range", v)
		}
	}
	return req.Get(url)
}

// beginBody judges the answer's head, and returns the size of the whole tarball, or
// 0 when nobody knows.
func (d *download) beginBody(resp *resty.Response, url string, ps *pass) (int64, error) {
	total, err := d.checkPosition(resp, url, ps)
	if err != nil {
		return 0, err
	}
	switch {
	case d.job.Size > 0 && total > 0 && total != d.job.Size:
		return 0, failedBecause(CodeWrongSize, "%s has %d bytes, and %d are announced", meta.RedactURL(url), total, d.job.Size)
	case total > d.sizeLimit():
		return 0, failedBecause(CodeTooLarge, "%s has %d bytes, and %d are allowed", meta.RedactURL(url), total, d.sizeLimit())
	case total == 0:
		total = d.job.Size
	}
	h := resp.Header()
	o := origin{URL: url, LastModified: h.Get("Last-Modified"), Total: total}
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		o.ETag = tag
	}
	if err := ps.part.setOrigin(o); err != nil {
		return 0, onDisk("remember where the download comes from", err)
	}
	return total, nil
}

// checkPosition makes sure that the body goes on where the pass is.
func (d *download) checkPosition(resp *resty.Response, url string, ps *pass) (int64, error) {
	switch status := resp.StatusCode(); status {
	case http.StatusOK:
		if ps.size > 0 { // the file has changed, or the server cannot resume
			return 0, errAfresh
		}
		return max(0, resp.RawResponse.ContentLength), nil
	case http.StatusPartialContent:
		return d.resumedAt(resp.Header().Get("Content-Range"), url, ps)
	case http.StatusRequestedRangeNotSatisfiable:
		if total, ok := strings.CutPrefix(resp.Header().Get("Content-Range"), "bytes */"); ok && total == strconv.FormatInt(ps.size, 10) {
			return ps.size, nil // it was complete already
		}
		return 0, errAfresh
	default:
		return 0, &refusal{err: refusedBy(meta.RedactURL(url), status), wait: retryAfter(resp.Header(), time.Now())}
	}
}

// resumedAt reads Content-Range. Another mirror's file of another size is not
// the one that was begun.
func (d *download) resumedAt(contentRange, url string, ps *pass) (int64, error) {
	var first, last, total int64
	if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &total); err != nil || first != ps.size || last < first || last >= total {
		return 0, errAfresh
	}
	if known := ps.part.origin.Total; known > 0 && known != total {
		return 0, errAfresh
	}
	ps.pure = ps.pure && ps.part.origin.URL == url
	return total, nil
}

// errAfresh: what has been downloaded cannot be gone on with.
var errAfresh = failedBecause(CodeWrongSize, "the server has another file than the one whose download was begun")

// copyBody takes the body in until its end; where is its address, for errors.
func (d *download) copyBody(ps *pass, from io.Reader, total int64, where string) error {
	limit := d.sizeLimit()
	if total > 0 {
		limit = min(limit, total)
	}
	for {
		b := ps.flow.takeBuffer()
		n, err := from.Read(b) // as much as has come: nothing waits here for a slow server
		if ps.size+int64(n) > limit {
			ps.flow.dropChunk(b)
			return failedBecause(CodeTooLarge, "more than %d bytes arrive from %s", limit, where)
		}
		if werr := ps.takeChunk(b[:n]); werr != nil {
			return werr
		}
		d.report(job.Progress{Phase: meta.PhaseDownloading, Done: ps.size, Total: total})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// explainBroken explains why a body could not be read to its end.
func explainBroken(ctx context.Context, where string, err error) error {
	var known *Error
	switch cause := context.Cause(ctx); {
	case errors.As(err, &known):
		return err
	case errors.Is(cause, errStalled) || errors.Is(cause, errSlow):
		return failedBecause(CodeStalled, "cannot download %s: %w", where, cause)
	case cause != nil:
		return failedBecause(CodeCancelled, "cannot download %s: %w", where, cause)
	default:
		return failedBecause(CodeUnreachable, "cannot download %s: the connection broke: %w", where, err)
	}
}
