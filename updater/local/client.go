package local

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
	"os"
	"path/filepath"
	"syscall"

	"github.com/ops-updater/ops-updater/internal/host/localsocket"
)

// ErrNotRunning says that no sidecar answers on the socket.
var ErrNotRunning = errors.New("the sidecar is not running")

// maxAnswer bounds what a client reads.
const maxAnswer = 16 << 20

// Client talks to the sidecar whose var directory it was made for.
type Client struct {
	http *http.Client
	path string
}

// NewClient makes a client for the sidecar with the var directory dir.
func NewClient(dir string) *Client {
	path := filepath.Join(dir, SocketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return localsocket.Dial(ctx, path) }
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, path: path}
}

// Status asks for the sidecar's status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.callSidecar(ctx, http.MethodGet, "/status", nil, &s)
}

// Plan asks what the sidecar would do now.
func (c *Client) Plan(ctx context.Context) (Plan, error) {
	var p Plan
	return p, c.callSidecar(ctx, http.MethodGet, "/plan", nil, &p)
}

// Do gives an order.
func (c *Client) Do(ctx context.Context, o Order) error {
	return c.callSidecar(ctx, http.MethodPost, "/order", o, nil)
}

// Beat has the sidecar make a heartbeat now, and waits for it.
func (c *Client) Beat(ctx context.Context) (Heartbeat, error) {
	var h Heartbeat
	return h, c.callSidecar(ctx, http.MethodPost, "/beat", nil, &h)
}

// Settle waits until the sidecar has nothing left to be done now.
func (c *Client) Settle(ctx context.Context) error {
	return c.callSidecar(ctx, http.MethodPost, "/settle", nil, nil)
}

// Reload makes the sidecar read its configuration again.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	var r Reloaded
	return r, c.callSidecar(ctx, http.MethodPost, "/reload", nil, &r)
}

// Output is what agent's control script printed last.
func (c *Client) Output(ctx context.Context, agent string) (Output, error) {
	var o Output
	return o, c.callSidecar(ctx, http.MethodGet, "/output?agent="+url.QueryEscape(agent), nil, &o)
}

func (c *Client) callSidecar(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://ops-updater"+path, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.explainFailure(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("cannot read the sidecar's answer: %w", err)
	}
	if response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("cannot ask the running sidecar for %s: it is older than this program; ./control restart runs the new one", path)
	}
	if response.StatusCode != http.StatusOK {
		var r refusal
		if json.Unmarshal(data, &r) != nil || r.Error == "" {
			r.Error = response.Status
		}
		return errors.New(r.Error)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

func (c *Client) explainFailure(err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: nobody answers on %s", ErrNotRunning, c.path)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s belongs to another user: %w", c.path, os.ErrPermission)
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return fmt.Errorf("cannot talk to the sidecar: %w", err)
}
