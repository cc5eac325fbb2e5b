package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// diskSize is that of each filesystem of the host, in bytes.
const diskSize = 32 << 20

// patience is how long what must come may take. It takes seconds, but minutes on a
// machine that has far too much to do.
const patience = 10 * time.Minute

// host is one machine with one sidecar.
type host struct {
	top     string   // has all of the following and nothing else
	judge   string   // the notes of applications; its disk is never full
	places  []string // work directories, on filesystems of their own
	varDir  string
	disks   []string // what can be full
	binary  string
	untried []string
	sidecar *sidecar // nil: it is down
	mounted []string
}

// sidecar is a running ops-updater.
type sidecar struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	killed bool // by us
	fault  bool // it may kill itself
}

func newHost(o Options) (*host, error) {
	h := &host{top: o.Dir, judge: filepath.Join(o.Dir, "judge"), binary: o.Binary}
	if err := os.MkdirAll(h.judge, 0o755); err != nil {
		return nil, err
	}
	for _, name := range []string{"near", "far", "own"} {
		disk := filepath.Join(o.Dir, name)
		if err := os.MkdirAll(disk, 0o755); err != nil {
			return nil, err
		}
		if err := mountSmall(disk); err != nil {
			if len(h.untried) == 0 {
				h.untried = append(h.untried, "full disk: "+err.Error())
			}
		} else {
			h.mounted = append(h.mounted, disk)
			h.disks = append(h.disks, disk)
		}
		if name == "own" {
			h.varDir = filepath.Join(disk, "var")
			continue
		}
		h.places = append(h.places, filepath.Join(disk, "work"))
	}
	return h, nil
}

func (h *host) configure(server string) error {
	data, err := json.Marshal(map[string]any{
		"server": server, "interval": 1, "hostname": "soak", "work_dir": h.places[0], "var_dir": h.varDir, "reserve": 0,
		"probation": "300ms", "start_timeout": "20s", "stop_timeout": "3s", "stall_timeout": "1s", "retries": 1, "max_download_size": "8MB",
	})
	if err != nil {
		return err
	}
	return os.WriteFile(h.config(), data, 0o600)
}

func (h *host) config() string { return filepath.Join(h.top, "cfg.json") }

// close ends everything and leaves the files, but those on filesystems of ours.
func (h *host) close() {
	h.empty()
	if h.sidecar != nil {
		_ = h.sidecar.cmd.Process.Kill()
		<-h.sidecar.ended
		h.sidecar = nil
	}
	// Twice: what is at work while the first ones are killed may start another one.
	for range 2 {
		for _, p := range h.processesBelow() {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		_ = pause(context.Background(), 200*time.Millisecond)
	}
	for _, disk := range h.mounted {
		unmount(disk)
	}
}

func (h *host) isUp() bool { return h.sidecar != nil }

// start starts the sidecar; fault is point:action, or empty.
func (h *host) start(fault string) error {
	if h.isUp() {
		return nil
	}
	output, err := os.OpenFile(filepath.Join(h.top, "output"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	once := filepath.Join(h.judge, "fault-happened")
	if err := os.Remove(once); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	cmd := exec.Command(h.binary, "-c", h.config()) //nolint:noctx // it outlives whoever starts it, and close ends it
	cmd.Dir, cmd.Stdout, cmd.Stderr = h.top, output, output
	cmd.Env = append(os.Environ(), "OPS_UPDATER_FAULT=")
	if fault != "" {
		cmd.Env = append(os.Environ(), "OPS_UPDATER_FAULT="+fault+":"+once)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s := &sidecar{cmd: cmd, ended: make(chan struct{}), fault: fault != ""}
	go func() { defer close(s.ended); _ = cmd.Wait() }()
	h.sidecar = s
	return nil
}

// kill is kill -9 of the sidecar, which is up.
func (h *host) kill() {
	h.sidecar.killed = true
	_ = h.sidecar.cmd.Process.Kill()
	<-h.sidecar.ended
	h.sidecar = nil
}

// checkAlive notices a sidecar that is gone: killed at a fault point, or, against
// I6, by itself.
func (h *host) checkAlive(kills map[string]int) error {
	if h.sidecar == nil {
		return nil
	}
	s := h.sidecar
	select {
	case <-s.ended:
	default:
		return nil
	}
	h.sidecar = nil
	status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if s.fault && ok && status.Signal() == syscall.SIGKILL {
		kills["sidecar at a fault point"]++
		return nil
	}
	return fmt.Errorf("I6: the sidecar ended by itself: %v", s.cmd.ProcessState)
}

// fill writes to the disk until nothing more fits.
func (h *host) fill(disk string) error {
	f, err := os.OpenFile(filepath.Join(disk, "full"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	block := make([]byte, 64<<10)
	for range 2 * diskSize / len(block) {
		if _, err = f.Write(block); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("cannot fill %s: %w", disk, err)
	}
	return nil
}

// empty gives all disks their space back.
func (h *host) empty() {
	for _, disk := range h.disks {
		_ = os.Remove(filepath.Join(disk, "full"))
	}
}

// command runs a command of ops-updater, as a person does.
func (h *host) command(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.binary, append([]string{"-c", h.config()}, args...)...)
	cmd.Env = append(os.Environ(), "OPS_UPDATER_FAULT=")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ops-updater %s: %w: %s", strings.Join(args, " "), err, complaint.Bytes())
	}
	return out, nil
}

// describe is what is looked at first when an invariant was broken.
func (h *host) describe() string {
	var all strings.Builder
	for _, p := range h.processesBelow() {
		_, _ = fmt.Fprintf(&all, "process %d of %d in %s: %s\n", p.pid, p.parent, p.dir, p.args)
	}
	for _, agent := range agents {
		_, _ = fmt.Fprintf(&all, "-- events of %s\n%s", agent, lastLines(filepath.Join(h.judge, agent+".events"), 12))
		_, _ = fmt.Fprintf(&all, "-- journal of %s\n%s\n", agent, lastLines(filepath.Join(h.varDir, "journal", agent+".json"), 200))
	}
	_, _ = fmt.Fprintf(&all, "-- log\n%s-- output\n%s", lastLines(filepath.Join(h.varDir, "app.log"), 400), lastLines(filepath.Join(h.top, "output"), 20))
	return all.String()
}

func lastLines(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error() + "\n"
	}
	lines := slices.Collect(strings.Lines(string(data)))
	return strings.Join(lines[max(len(lines)-n, 0):], "")
}
