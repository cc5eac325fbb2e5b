package install_test

import (
	"archive/tar"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/updater/install"
)

// BenchmarkRun installs a release of 50 MB in 2 200 files from loopback; the
// server runs in the same process. scripts/bench-install compares the real
// program with other tools.
func BenchmarkRun(b *testing.B) {
	members := []tar.Header{{Name: "control", Mode: 0o755}}
	for i := range 2200 {
		members = append(members, tar.Header{Name: fmt.Sprintf("lib/a%d/b%d/f%d", i%7, i%110, i), Mode: 0o644, ModTime: stamp})
	}
	words := strings.Repeat(noise(50, 1)+noise(10, 2)+noise(20, 3), 50)
	r := release{tarball: pack(b, members, func(name string) string {
		if name == "control" {
			return script
		}
		n := uint32(len(name) * 31)
		for _, c := range name {
			n = n*31 + uint32(c)
		}
		return noise(6_000, n|1) + words + words + words + words
	})}
	r.md5, _ = sums(r.tarball)
	server := serve(b, content(r.tarball))
	b.SetBytes(int64(2200 * (6_000 + 4*len(words))))
	for b.Loop() {
		j := testJob(b, r, server.URL)
		j.Dir = filepath.Join(b.TempDir(), "agent")
		if _, err := install.Run(b.Context(), j, nil); err != nil {
			b.Fatal(err)
		}
	}
}
