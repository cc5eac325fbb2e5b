package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// failure is an attempt that did not work.
type failure struct {
	err       error
	permanent bool          // trying again would not help
	after     time.Duration // what the receiver asks to wait; 0: nothing
}

func (f *failure) Error() string { return f.err.Error() }

// webhook posts notices.
type webhook struct {
	client *http.Client
	agent  string
	now    func() time.Time
}

func newWebhook(timeout time.Duration, control func(network, address string, c syscall.RawConn) error, agent string, now func() time.Time) *webhook {
	dialer := &net.Dialer{Timeout: timeout, Control: control}
	return &webhook{agent: agent, now: now, client: &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a signature is for one receiver
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute},
	}}
}

// bodyOf is what is posted: the notice as JSON, or what the target's template
// makes of it.
func bodyOf(t api.NotifyTarget, n api.Notice) (content []byte, kind string, err error) {
	if t.Template == "" {
		content, err = json.Marshal(n)
		return content, "application/json", err
	}
	s, err := textOf(t, n)
	if json.Valid([]byte(s)) {
		return []byte(s), "application/json", err
	}
	return []byte(s), "text/plain; charset=utf-8", err
}

func (w *webhook) deliver(ctx context.Context, t api.NotifyTarget, n api.Notice) *failure {
	content, kind, err := bodyOf(t, n)
	if err != nil {
		return &failure{err: err, permanent: true}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.URL, bytes.NewReader(content))
	if err != nil {
		return &failure{err: errors.New("the target's address is not one"), permanent: true} // err would tell it
	}
	now := w.now()
	timestamp := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", kind)
	req.Header.Set("User-Agent", w.agent)
	req.Header.Set(HeaderEvent, n.Event)
	req.Header.Set(HeaderID, headerSafe(n.ID))
	req.Header.Set(HeaderTimestamp, timestamp)
	if t.Secret != "" {
		req.Header.Set(HeaderSignature, signBody(t.Secret, timestamp, content))
		if err := signStandard(req.Header, t.Secret, headerSafe(n.ID), now, content); err != nil {
			return &failure{err: err, permanent: true}
		}
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return unreachable(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	return w.judgeResponse(resp)
}

// unreachable is an attempt that got no answer.
func unreachable(ctx context.Context, err error) *failure {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // the address may hold a key
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return &failure{err: fmt.Errorf("cannot reach the receiver: %w", err)}
}

// headerSafe leaves out what a header cannot hold.
func headerSafe(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
}

// judgeResponse decides by the answer whether to try again. Answers that are about
// this request and not about the moment are final.
func (w *webhook) judgeResponse(resp *http.Response) *failure {
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
	code := resp.StatusCode
	if code >= 200 && code < 300 {
		return nil
	}
	f := &failure{err: errors.New(strings.TrimSuffix("the receiver answers "+resp.Status+": "+strings.Join(strings.Fields(strings.ToValidUTF8(string(said), "")), " "), ": "))}
	f.permanent = !mayPass(code)
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		f.after = time.Duration(min(s, int(maxAfter/time.Second))) * time.Second
	}
	return f
}

// maxAfter is how long a receiver may have us wait.
const maxAfter = 24 * time.Hour

// mayPass: an answer that is about the moment, so that trying again may help.
func mayPass(code int) bool {
	return code >= 500 || code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests
}
