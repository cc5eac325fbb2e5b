package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/updater/local"
)

// The release of the memory benchmark, as large as the larger ones in the field.
const (
	benchFiles    = 11_000
	benchFileSize = 250 << 20 / benchFiles
)

// BenchmarkResidentMemory measures the resident process of the real program:
// idle after a few heartbeats, at its largest while it installs a release of
// 250 MB, and right after. kB as the kernel counts them: anonymous memory, which
// is the process's alone, and all resident pages, most of which are the
// program's own text in the page cache.
func BenchmarkResidentMemory(b *testing.B) {
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		b.Skip("SKIPPED: needs Linux's /proc/PID/smaps_rollup")
	}
	for b.Loop() {
		dir := b.TempDir()
		program := filepath.Join(dir, "ops-updater")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		size := packBench(b, filepath.Join(dir, "www", arch(), "big-1.tar.gz"))
		var reply atomic.Value
		reply.Store(`{"errorMessage":"","desiredAgents":[]}`)
		mux := http.NewServeMux()
		mux.Handle("/www/", http.StripPrefix("/www/", http.FileServer(http.Dir(filepath.Join(dir, "www")))))
		mux.HandleFunc("/api/heartbeat", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(reply.Load().(string))) })
		server := httptest.NewServer(mux)
		defer server.Close()
		config := fmt.Sprintf(`{"server": %q, "interval": 1, "probation": 1, "reserve": 0}`, server.URL)
		if err := os.WriteFile(filepath.Join(dir, "cfg.json"), []byte(config), 0o600); err != nil {
			b.Fatal(err)
		}
		sidecar := exec.Command(program, "-c", filepath.Join(dir, "cfg.json"))
		sidecar.Dir = dir
		if err := sidecar.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() {
			_ = sidecar.Process.Signal(os.Interrupt)
			_ = sidecar.Wait()
		}()
		pid := sidecar.Process.Pid
		client := local.NewClient(filepath.Join(dir, "var"))

		benchUntil(b, client, func(s local.Status) bool {
			return !s.Heartbeat.LastOK.IsZero() && time.Since(s.Started) > 10*time.Second
		})
		reportMemory(b, pid, "idle")

		var largest int
		reply.Store(fmt.Sprintf(`{"errorMessage":"","desiredAgents":[{"name":"big","version":"1","tarball":"%s/www","md5":"","size":%d,"cmd":"start"}]}`, server.URL, size))
		benchUntil(b, client, func(s local.Status) bool {
			largest = max(largest, memory(b, pid)["Anonymous"])
			return len(s.Agents) == 1 && s.Agents[0].Version == "1" && s.Agents[0].Status == "started" && s.Agents[0].Phase == "idle"
		})
		reportMemory(b, pid, "after")
		b.ReportMetric(float64(largest), "kB-during-anon")
	}
	b.ReportMetric(0, "ns/op")
}

func benchUntil(b *testing.B, c *local.Client, reached func(local.Status) bool) {
	b.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		s, err := c.Status(context.Background())
		if err == nil && reached(s) {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("not reached: %+v, %v", s, err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

func reportMemory(b *testing.B, pid int, when string) {
	m := memory(b, pid)
	b.ReportMetric(float64(m["Anonymous"]), "kB-"+when+"-anon")
	b.ReportMetric(float64(m["Rss"]), "kB-"+when+"-rss")
}

// memory reads the sums that the kernel keeps, in kB.
func memory(b *testing.B, pid int) map[string]int {
	b.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	sums := map[string]int{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) >= 2 {
			sums[strings.TrimSuffix(fields[0], ":")], _ = strconv.Atoi(fields[1])
		}
	}
	return sums
}

// packBench writes the release with its .md5 and returns its size. Its content
// compresses about as well as programs do.
func packBench(b *testing.B, path string) int64 {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	z, _ := gzip.NewWriterLevel(f, gzip.BestSpeed)
	w := tar.NewWriter(z)
	add := func(name string, mode int64, content []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			b.Fatal(err)
		}
	}
	control, err := os.ReadFile(filepath.Join("testdata", "agents", "daemon", "control"))
	if err != nil {
		b.Fatal(err)
	}
	add("control", 0o755, control)
	words := rand.NewChaCha8([32]byte{})
	content := make([]byte, benchFileSize)
	for i := range benchFiles {
		_, _ = words.Read(content[:benchFileSize/3]) // a third is random, the rest repeats
		copy(content[benchFileSize/3:], content[:benchFileSize/3])
		add(fmt.Sprintf("lib/%02d/%05d.so", i%100, i), 0o644, content)
	}
	for _, closer := range []interface{ Close() error }{w, z, f} {
		if err := closer.Close(); err != nil {
			b.Fatal(err)
		}
	}
	sum, err := exec.Command("md5sum", path).Output()
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path+".md5", sum, 0o644); err != nil {
		b.Fatal(err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return fi.Size()
}
