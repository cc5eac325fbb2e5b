package attacks

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// pack makes a tarball whose control is evil's, and of these members besides.
func (v *victim) pack(members ...tar.Header) []byte {
	v.t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	add := func(h tar.Header, content string) {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(content))
		}
		must(v.t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte(content))
			must(v.t, err)
		}
	}
	add(tar.Header{Name: "control", Mode: 0o755}, v.evil().Control)
	for _, h := range members {
		content := "x"
		if strings.HasPrefix(h.Name, "bomb") {
			content = strings.Repeat("\x00", 16<<20)
		}
		add(h, content)
	}
	must(v.t, w.Close())
	must(v.t, zip.Close())
	return out.Bytes()
}

// Every archive has the digests that the server announces: the server is hostile, too.
func TestArchiveTricks(t *testing.T) {
	v := newVictim(t, nil)
	outside := filepath.Join(v.dir, "outside")
	plain := func(members ...tar.Header) func(*victim) []byte {
		return func(v *victim) []byte { return v.pack(members...) }
	}
	numbered := make([]tar.Header, 600)
	for i := range numbered {
		numbered[i] = tar.Header{Name: fmt.Sprintf("f%d", i), Mode: 0o644}
	}
	cases := map[string]struct {
		pack  func(*victim) []byte
		codes []string
	}{
		"parent path":    {plain(tar.Header{Name: "../../../outside", Mode: 0o644}), []string{"hostile-archive"}},
		"absolute path":  {plain(tar.Header{Name: outside, Mode: 0o644}), []string{"hostile-archive"}},
		"link out":       {plain(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: v.dir}), []string{"hostile-archive"}},
		"through a link": {plain(tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "."}, tar.Header{Name: "l/x", Mode: 0o644}), []string{"hostile-archive"}},
		"hard link":      {plain(tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), []string{"hostile-archive"}},
		"device":         {plain(tar.Header{Name: "d", Typeflag: tar.TypeBlock, Devmajor: 8}), []string{"hostile-archive"}},
		"FIFO":           {plain(tar.Header{Name: "p", Typeflag: tar.TypeFifo}), []string{"hostile-archive"}},
		"setuid":         {plain(tar.Header{Name: "s", Mode: 0o4755}), []string{"hostile-archive"}},
		"duplicate":      {plain(tar.Header{Name: "control", Mode: 0o755}), []string{"hostile-archive"}},
		"case collision": {plain(tar.Header{Name: "a", Mode: 0o644}, tar.Header{Name: "A", Mode: 0o644}), []string{"hostile-archive"}},
		"huge count":     {plain(numbered...), []string{"hostile-archive"}},
		"bomb":           {plain(tar.Header{Name: "bomb", Mode: 0o644}), []string{"hostile-archive"}},
		"truncated":      {func(v *victim) []byte { b := v.pack(); return b[:len(b)-5] }, []string{"bad-archive"}},
		"trailing data":  {func(v *victim) []byte { return append(v.pack(), "and more"...) }, []string{"hostile-archive"}},
		"no archive":     {func(*victim) []byte { return []byte("#!/bin/sh\n") }, []string{"bad-archive"}},
	}
	few := []string{"parent path", "link out", "device", "case collision", "bomb", "truncated"}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		if !all && !slices.Contains(few, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			v := v.in(t)
			v.evils++
			v.wantsBeside(v.server.releaseOf("falcon", fmt.Sprintf("6.6.%d", v.evils), cases[name].pack(v)))
			v.refused(cases[name].codes...)
			if _, err := os.Lstat(outside); err == nil {
				t.Error("something was written outside of the agent's directory")
			}
			if versions, _ := filepath.Glob(filepath.Join(v.agentDir("falcon"), "6.6.*")); len(versions) > 0 {
				t.Errorf("it is on disk: %v", versions)
			}
		})
	}
	v.recovers()
}

// A tarball that is not the one that was announced, whatever it holds.
func TestAnotherTarballThanAnnounced(t *testing.T) {
	v := newVictim(t, nil)
	honest := v.server.release(t, "falcon", "1.0.1", agenttest.Habits{})
	evil := v.server.releaseOf("falcon", "1.0.1", v.pack())
	honest.Size = 0
	v.wantsBeside(honest)
	v.refused("wrong-digest")
	evil.SHA256, evil.Size = honest.SHA256, 0 // the md5 was made to fit
	v.wantsBeside(evil)
	v.refused("wrong-digest")
	v.recovers()
}
