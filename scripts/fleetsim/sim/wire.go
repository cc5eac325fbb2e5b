package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/ops-updater/ops-updater/meta"
)

const (
	exchangeLimit = 30 * time.Second
	maxReply      = 4 << 20
)

// conn is one worker's connection. It speaks just enough HTTP/1.1 for
// heartbeats: what a general client does besides would be measured as well.
type conn struct {
	address   string
	keepAlive bool
	dialer    net.Dialer
	tcp       net.Conn
	in        *bufio.Reader
	out       bytes.Buffer
}

// answer is a reply to a heartbeat.
type answer struct {
	status int
	etag   string
	body   []byte // valid until the next exchange
}

// exchangeBeat sends a heartbeat and reads its answer. A kept connection that the
// server closed meanwhile is replaced once.
func (c *conn) exchangeBeat(ctx context.Context, path, etag string, body []byte) (answer, error) {
	fresh := c.tcp == nil
	a, err := c.tryExchange(ctx, path, etag, body)
	if err != nil && !fresh && ctx.Err() == nil {
		a, err = c.tryExchange(ctx, path, etag, body)
	}
	return a, err
}

func (c *conn) tryExchange(ctx context.Context, path, etag string, body []byte) (answer, error) {
	if c.tcp == nil {
		tcp, err := c.dialer.DialContext(ctx, "tcp", c.address)
		if err != nil {
			return answer{}, err
		}
		c.tcp, c.in = tcp, bufio.NewReader(tcp)
	}
	a, reuse, err := c.sendAndRead(path, etag, body)
	if err != nil || !reuse {
		c.close()
	}
	return a, err
}

func (c *conn) close() {
	if c.tcp != nil {
		_ = c.tcp.Close()
		c.tcp = nil
	}
}

func (c *conn) sendAndRead(path, etag string, body []byte) (answer, bool, error) {
	if err := c.tcp.SetDeadline(time.Now().Add(exchangeLimit)); err != nil {
		return answer{}, false, err
	}
	c.out.Reset()
	fmt.Fprintf(&c.out, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: fleetsim\r\nContent-Length: %d\r\n", path, c.address, len(body))
	if etag != "" {
		fmt.Fprintf(&c.out, "If-None-Match: %s\r\n", etag)
	}
	if !c.keepAlive {
		c.out.WriteString("Connection: close\r\n")
	}
	c.out.WriteString("\r\n")
	c.out.Write(body)
	if _, err := c.tcp.Write(c.out.Bytes()); err != nil {
		return answer{}, false, err
	}
	return c.readAnswer()
}

func (c *conn) readAnswer() (answer, bool, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return answer{}, false, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return answer{}, false, fmt.Errorf("cannot read a reply: it begins with %q", line)
	}
	a := answer{}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return answer{}, false, fmt.Errorf("cannot read a reply: %w", err)
	}
	length, reuse := -1, c.keepAlive
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return answer{}, false, err
		}
		key, value, more := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		if !more {
			break
		}
		switch string(key) {
		case "Content-Length":
			length, _ = strconv.Atoi(string(value))
		case "Etag":
			a.etag = string(value)
		case "Connection":
			reuse = reuse && !bytes.EqualFold(value, []byte("close"))
		}
	}
	a.body, err = c.readBody(a.status, length)
	return a, reuse && length >= 0 || a.status == 304, err
}

func (c *conn) readBody(status, length int) ([]byte, error) {
	switch {
	case status == 304:
		return nil, nil
	case length > maxReply:
		return nil, errors.New("the reply is too large")
	case length >= 0:
		body := make([]byte, length)
		_, err := io.ReadFull(c.in, body)
		return body, err
	}
	return io.ReadAll(io.LimitReader(c.in, maxReply)) // until the connection closes
}

// decodeReply reads what a reply wants; unknown fields don't matter to a host.
func decodeReply(body []byte) (meta.HeartbeatResponse, error) {
	var resp meta.HeartbeatResponse
	if err := json.Unmarshal(body, &resp); err != nil {
		return resp, fmt.Errorf("cannot read a reply: %w", err)
	}
	if resp.ErrorMessage != "" {
		return resp, errors.New(resp.ErrorMessage)
	}
	return resp, nil
}
