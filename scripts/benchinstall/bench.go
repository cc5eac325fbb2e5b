package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench is one comparison.
type bench struct {
	program string
	rounds  int
	cache   string
	tarball string
	digest  string
	url     string
	server  *exec.Cmd
}

// way is one way to install; it leaves the tree in dir.
type way struct {
	name    string
	command func(ctx context.Context, dir string) (*exec.Cmd, error)
}

// sample is what one run took.
type sample struct {
	wall, cpu time.Duration
}

func (b *bench) startServer(ctx context.Context) (err error) {
	if b.program, err = filepath.Abs(b.program); err != nil {
		return err
	}
	if b.tarball, b.digest, err = makeTarball(b.cache); err != nil {
		return err
	}
	b.server = exec.CommandContext(ctx, "/proc/self/exe", "-serve", b.tarball)
	b.server.Stderr = os.Stderr
	out, err := b.server.StdoutPipe()
	if err == nil {
		err = b.server.Start()
	}
	if err != nil {
		return err
	}
	b.url, err = bufio.NewReader(out).ReadString('\n')
	b.url = strings.TrimSpace(b.url)
	return err
}

func (b *bench) close() {
	_ = b.server.Process.Kill()
	_ = b.server.Wait()
}

func (b *bench) installWays() []way {
	shell := func(script string) func(context.Context, string) (*exec.Cmd, error) {
		return func(ctx context.Context, dir string) (*exec.Cmd, error) {
			cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script, "bash", b.url, b.digest)
			cmd.Dir = dir
			return cmd, nil
		}
	}
	const pipe = `mkdir 1.0.0; curl -sf "$1" | tar xz -C 1.0.0`
	const steps = `wget -q -O t.tar.gz "$1"; test "$(md5sum <t.tar.gz)" = "$2  -"; mkdir 1.0.0; tar zxf t.tar.gz -C 1.0.0; rm t.tar.gz`
	return []way{
		{"ops-updater child", b.childCommand},
		{"curl | tar xz", shell(pipe)},
		{"wget; md5sum; tar zxf", shell(steps)},
		{"curl | tar xz; sync", shell(pipe + `; sync -f 1.0.0`)},
		{"wget; md5sum; tar zxf; sync", shell(steps + `; sync -f 1.0.0`)},
	}
}

// childCommand is the real program doing the real job: its input stays open until it
// has answered, as in the sidecar.
func (b *bench) childCommand(ctx context.Context, dir string) (*exec.Cmd, error) {
	place := map[string]string{"Path": filepath.Join(dir, "bench"), "Name": "bench"}
	job, err := json.Marshal(map[string]any{"op": "install", "dir": place, "install": map[string]any{
		"Agent": "bench", "Version": "1.0.0", "Dir": place["Path"], "Tarballs": []string{b.url}, "MD5": b.digest,
	}})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.program, "child")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answered := &answer{end: in.Close}
	cmd.Stdout = answered
	_, err = in.Write(append(job, '\n')) // fits into the pipe
	return cmd, err
}

// answer ends the child's input when the result has come.
type answer struct {
	end func() error
	buf bytes.Buffer
}

func (a *answer) Write(p []byte) (int, error) {
	a.buf.Write(p)
	if bytes.Contains(a.buf.Bytes(), []byte(`{"error"`)) {
		return 0, errors.New(a.buf.String())
	}
	if bytes.Contains(a.buf.Bytes(), []byte(`{"result"`)) {
		_ = a.end()
	}
	return len(p), nil
}

// measureWays runs all ways in turn, round after round, so that whatever else the
// machine does hits them alike.
func (b *bench) measureWays(ctx context.Context, name, base string) error {
	ways := b.installWays()
	samples := make([][]sample, len(ways))
	for round := range b.rounds {
		for i := range ways {
			w := (i + round) % len(ways)
			s, err := b.runOnce(ctx, ways[w], base)
			if err != nil {
				return fmt.Errorf("%s on %s: %w", ways[w].name, name, err)
			}
			samples[w] = append(samples[w], s)
		}
	}
	printTable(name, ways, samples)
	return nil
}

func (b *bench) runOnce(ctx context.Context, w way, base string) (s sample, err error) {
	dir, err := os.MkdirTemp(base, "bench-install-")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd, err := w.command(ctx, dir)
	if err != nil {
		return s, err
	}
	cmd.Stderr = os.Stderr
	syscall.Sync() // nobody pays for what others have written
	began := time.Now()
	err = cmd.Run()
	s.wall = time.Since(began)
	if err != nil {
		return s, err
	}
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return s, checkInstalled(dir)
}

// checkInstalled makes sure that the work was done.
func checkInstalled(dir string) error {
	files := 0
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files++
		}
		return err
	})
	if err == nil && files != 1+largeFiles+smallFiles {
		err = fmt.Errorf("%d files are there, want %d", files, 1+largeFiles+smallFiles)
	}
	return err
}

func printTable(name string, ways []way, samples [][]sample) {
	ours := median(samples[0], func(s sample) float64 { return s.wall.Seconds() })
	fmt.Printf("\non %s, medians of %d rounds\n", name, len(samples[0]))
	fmt.Printf("%-30s %8s %8s %8s %8s\n", "", "seconds", "ratio", "fastest", "CPU s")
	for i, w := range ways {
		wall := median(samples[i], func(s sample) float64 { return s.wall.Seconds() })
		cpu := median(samples[i], func(s sample) float64 { return s.cpu.Seconds() })
		fastest := slices.MinFunc(samples[i], func(a, b sample) int { return cmp.Compare(a.wall, b.wall) }).wall.Seconds()
		fmt.Printf("%-30s %8.2f %8.2f %8.2f %8.2f\n", w.name, wall, wall/ours, fastest, cpu)
	}
}

func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
