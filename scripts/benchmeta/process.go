package main

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

// process is a server that is measured from outside.
type process struct {
	cmd  *exec.Cmd
	url  string
	log  *os.File
	took time.Duration // from the start to the first answer
}

const (
	readyLimit = 2 * time.Minute
	stopLimit  = time.Minute
)

// start runs a program that listens on address and waits until it answers.
func start(ctx context.Context, dir, address, ready string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(args[0], args[1:]...), url: "http://" + address, log: log} //nolint:noctx // it is stopped by signal
	p.cmd.Stdout, p.cmd.Stderr = log, log
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.await(ctx, p.url+ready); err != nil {
		return nil, fmt.Errorf("%w; its log is %s", err, log.Name())
	}
	p.took = time.Since(began)
	return p, nil
}

func (p *process) await(ctx context.Context, url string) error {
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

// stop ends the server and waits for it.
func (p *process) stop(sig syscall.Signal) error {
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

// usage is what the kernel counts of a process.
type usage struct {
	cpu  time.Duration // user and system
	rss  int64         // bytes, now
	peak int64         // bytes, at most so far
}

const clockTicks = 100 // per second, on every Linux

func (p *process) usage() (usage, error) {
	dir := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return usage{}, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return usage{}, fmt.Errorf("cannot read %s/stat", dir)
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return usage{}, err
	}
	return usage{
		cpu: time.Duration(user+system) * time.Second / clockTicks,
		rss: kilobytes(status, "VmRSS:"), peak: kilobytes(status, "VmHWM:"),
	}, nil
}

func kilobytes(status []byte, key string) int64 {
	_, rest, _ := bytes.Cut(status, []byte(key))
	n, _ := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
	return n << 10
}

// freeAddress is a loopback address that nobody listens on right now.
func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // nothing was accepted
	return l.Addr().String(), nil
}
