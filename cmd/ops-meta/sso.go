package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// ssoPatience is how long a login in the browser may take.
const ssoPatience = 10 * time.Minute

// openProviderSession logs a person in at the server's login provider: they do so in
// a browser on this machine, which brings a code back here (RFC 8252). It is of use
// only with the verifier, which stays here.
func (a *app) openProviderSession(cmd *cobra.Command, p place, port int) (api.Session, error) {
	client, err := p.client()
	if err != nil {
		return api.Session{}, err
	}
	at, err := client.LoginProvider(cmd.Context())
	if err == nil && at.Begin == "" {
		err = api.NoLoginProvider()
	}
	if err != nil {
		return api.Session{}, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), ssoPatience)
	defer cancel()
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return api.Session{}, fmt.Errorf("cannot wait for the browser: %w", err)
	}
	_, own, _ := net.SplitHostPort(listener.Addr().String())
	verifier, state := rand.Text()+rand.Text(), rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	query := url.Values{"port": {own}, "state": {state}, "challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}}
	_, _ = fmt.Fprintf(a.err, "open this in a browser on this machine, and log in with %s:\n\n  %s?%s\n\n", printable.Line(at.Name), printable.Line(at.Begin), query.Encode())
	code, err := awaitBrowser(ctx, listener, state)
	if errors.Is(err, context.DeadlineExceeded) {
		err = &api.Error{Kind: api.KindUnavailable, Message: fmt.Sprintf("nobody logged in within %v", ssoPatience), Hint: "try again; on another machine than the browser's, forward the port: ssh -L " + own + ":127.0.0.1:" + own + " HOST, and give --port " + own}
	}
	if err != nil {
		return api.Session{}, err
	}
	return client.RedeemLogin(ctx, api.RedeemLogin{Code: code, Verifier: verifier})
}

// brought is what the browser comes with.
type brought struct{ code, failed string }

// awaitBrowser waits for the browser that brings the code of a login, by its state.
func awaitBrowser(ctx context.Context, listener net.Listener, state string) (code string, err error) {
	came := make(chan brought, 1)
	s := &http.Server{ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != "/" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
			http.Error(w, "there is nothing here", http.StatusNotFound)
			return
		}
		b := brought{code: q.Get("code"), failed: q.Get("error")}
		words := "You are logged in: close this window and go on at the command line."
		if b.code == "" {
			words = "You are not logged in: the command line says why."
		}
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("Connection", "close")
		_, _ = fmt.Fprintln(w, words)
		select {
		case came <- b:
		default: // it came twice
		}
	})}
	ended := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() { ended <- s.Serve(listener) })
	defer func() {
		defer serving.Wait()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second) // for what the browser is to read
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
	}()
	select {
	case b := <-came:
		if b.code == "" {
			return "", &api.Error{Kind: api.KindDenied, Message: printable.Line(strings.TrimSpace(b.failed)), Hint: "log in again, or with --user or a token"}
		}
		return b.code, nil
	case err := <-ended:
		return "", fmt.Errorf("cannot wait for the browser: %w", err)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
