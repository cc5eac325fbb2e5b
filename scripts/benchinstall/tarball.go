package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// The release: about 250 MB in 11 000 files, which pack to about 75 MB, as
// software does: a few large programs and very many small files.
const (
	tarballName = "bench-release-v3.tar.gz"
	smallFiles  = 10_990
	largeFiles  = 10
	largeSize   = 8 << 20
	smallMean   = 15_400
	filesPerDir = 20
	control     = "#!/bin/sh\necho stoped\n"
)

// makeTarball writes the release to dir, unless it is there from the last time.
// The same bytes come out every time.
func makeTarball(dir string) (path, digest string, err error) {
	path = filepath.Join(dir, tarballName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(os.Stderr, "making", path)
		if err := errors.Join(os.MkdirAll(dir, 0o755), writeTarball(path)); err != nil {
			return "", "", err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", "", err
	}
	defer f.Close() //nolint:errcheck // only read
	h := md5.New()
	_, err = io.Copy(h, f)
	return path, hex.EncodeToString(h.Sum(nil)), err
}

func writeTarball(path string) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(f)
	gz := gzip.NewWriter(buf)
	w := tar.NewWriter(gz)
	err = fillTarball(w)
	if err = errors.Join(err, w.Close(), gz.Close(), buf.Flush(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func fillTarball(w *tar.Writer) error {
	t := newText()
	if err := addFile(w, "control", 0o755, []byte(control)); err != nil {
		return err
	}
	for i := range largeFiles {
		if err := addFile(w, fmt.Sprintf("bin/program-%d", i), 0o755, t.makeText(largeSize)); err != nil {
			return err
		}
	}
	for i := range smallFiles {
		d := i / filesPerDir
		name := fmt.Sprintf("lib/module-%d/part-%d/section-%d/file-%d.dat", d%7, d%50, d, i)
		size := int(t.r.ExpFloat64() * smallMean)
		if err := addFile(w, name, 0o644, t.makeText(size)); err != nil {
			return err
		}
	}
	return nil
}

func addFile(w *tar.Writer, name string, mode int64, content []byte) error {
	h := &tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: time.Unix(1_600_000_000, 0)}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

// text is content that packs to about 30 %: words of a small language, some
// more often than others, with noise in between.
type text struct {
	r     *rand.Rand
	words [][]byte
}

func newText() *text {
	t := &text{r: rand.New(rand.NewPCG(2026, 75))}
	for range 4096 {
		t.words = append(t.words, t.randomBytes(4+t.r.IntN(20)))
	}
	return t
}

func (t *text) randomBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(t.r.Uint32())
	}
	return b
}

func (t *text) makeText(size int) []byte {
	b := make([]byte, 0, size+32)
	for len(b) < size {
		if t.r.IntN(100) < noisePercent {
			b = append(b, t.randomBytes(10)...)
			continue
		}
		n := int(t.r.ExpFloat64() * 230)
		b = append(b, t.words[n%len(t.words)]...)
	}
	return b[:size]
}

// noisePercent is tuned for a packed size of about 75 MB.
const noisePercent = 4
