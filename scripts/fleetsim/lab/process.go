// Package lab starts the real ops-meta on loopback for the benchmarks and
// simulations, tells it what is wanted, and measures it from outside.
package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a server that is measured from outside.
type Process struct {
	URL  string
	Took time.Duration // from the start to the first answer
	cmd  *exec.Cmd
	log  *os.File
}

const (
	readyLimit = 2 * time.Minute
	stopLimit  = time.Minute
)

// Launch is a program to start.
type Launch struct {
	Dir     string // for its log
	Address string // that it is told to listen on
	Ready   string // path that answers 200 once it is ready
	Args    []string
}

// Meta launches an ops-meta that keeps everything in data.
func Meta(binary, address, data string) Launch {
	return Launch{
		Dir: filepath.Dir(data), Address: address, Ready: "/readyz",
		Args: []string{binary, "serve", "--listen", address, "--data", data, "--log-level", "warn"},
	}
}

// Start runs a program and waits until it answers.
func Start(ctx context.Context, l Launch) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(l.Dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(l.Args[0], l.Args[1:]...), URL: "http://" + l.Address, log: log} //nolint:noctx // it is stopped by signal
	p.cmd.Stdout, p.cmd.Stderr = log, log
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.awaitReady(ctx, p.URL+l.Ready); err != nil {
		return nil, fmt.Errorf("%w; its log is %s", err, log.Name())
	}
	p.Took = time.Since(began)
	return p, nil
}

func (p *Process) awaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	client := &http.Client{Timeout: readyLimit}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server was not ready within %v", readyLimit)
		case <-tick.C:
		}
	}
}

// Stop ends the server and waits for it.
func (p *Process) Stop(sig syscall.Signal) error {
	defer p.log.Close() //nolint:errcheck // only written by the server
	if err := p.cmd.Process.Signal(sig); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	t := time.NewTimer(stopLimit)
	defer t.Stop()
	select {
	case err := <-done:
		if sig == syscall.SIGKILL {
			return nil
		}
		return err
	case <-t.C:
		_ = p.cmd.Process.Kill()
		<-done
		return fmt.Errorf("the server did not stop within %v", stopLimit)
	}
}

// Usage is what the kernel counts of a process.
type Usage struct {
	CPU  time.Duration // user and system
	RSS  int64         // bytes, now
	Peak int64         // bytes, at most so far
}

const clockTicks = 100 // per second, on every Linux

// Usage reads what the kernel counts of the server so far.
func (p *Process) Usage() (Usage, error) {
	dir := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Usage{}, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return Usage{}, fmt.Errorf("cannot read %s/stat", dir)
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return Usage{}, err
	}
	return Usage{
		CPU: time.Duration(user+system) * time.Second / clockTicks,
		RSS: bytesOf(status, "VmRSS:"), Peak: bytesOf(status, "VmHWM:"),
	}, nil
}

func bytesOf(status []byte, key string) int64 {
	_, rest, _ := bytes.Cut(status, []byte(key))
	n, _ := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
	return n << 10
}

// FreeAddress is a loopback address that nobody listens on right now.
func FreeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // nothing was accepted
	return l.Addr().String(), nil
}
