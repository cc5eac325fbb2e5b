// Command image writes a container image of ops-meta, without a daemon: the static
// program, a user that is not root, the certificate authorities of the web, and nothing
// else. The same program makes the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// nonRoot is the user and group of the program, as other images without a distribution
// number theirs.
const nonRoot = 65532

const dataDir = "/var/lib/ops-meta"

type options struct {
	version, arch, program, out string
	made                        time.Time
}

func main() {
	var o options
	flag.StringVar(&o.version, "version", "", "of the release")
	flag.StringVar(&o.arch, "arch", "amd64", "as Go calls it")
	flag.StringVar(&o.program, "program", "", "ops-meta, linked statically for linux and arch")
	flag.StringVar(&o.out, "out", "", "the file to write, as docker load and podman load read it")
	seconds := flag.Int64("time", 0, "of the release, in seconds since 1970")
	flag.Parse()
	o.made = time.Unix(*seconds, 0).UTC()
	if err := write(o); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(o options) error {
	program, err := os.ReadFile(o.program)
	if err != nil {
		return err
	}
	image, err := build(o, program)
	if err != nil {
		return err
	}
	tag, err := name.NewTag("ops-meta:"+imageTag(o.version), name.WithDefaultRegistry(""))
	if err != nil {
		return fmt.Errorf("the version %q makes no tag: %w", o.version, err)
	}
	if err := tarball.WriteToFile(o.out, tag, image); err != nil {
		return err
	}
	written, err := tarball.ImageFromPath(o.out, nil)
	if err == nil {
		err = validate.Image(written)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s is not sound: %w", o.out, err), os.Remove(o.out))
	}
	return nil
}

// imageTag is the version with what a tag may have in it.
func imageTag(version string) string {
	tag := []byte(version)
	for i, c := range tag {
		ok := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '.' || c == '-'
		if !ok {
			tag[i] = '_'
		}
	}
	return string(tag)
}

func build(o options, program []byte) (v1.Image, error) {
	// What seldom changes first, so that a new version is one small layer to fetch.
	base, err := layer(o.made, []entry{
		{name: "etc/", mode: 0o755},
		{name: "etc/passwd", mode: 0o644, content: fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\nops-meta:x:%d:%d:ops-meta:%s:/sbin/nologin\n", nonRoot, nonRoot, dataDir)},
		{name: "etc/group", mode: 0o644, content: fmt.Appendf(nil, "root:x:0:\nops-meta:x:%d:\n", nonRoot)},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: authorities()},
		{name: "tmp/", mode: 0o1777},
		{name: dataDir[1:] + "/", mode: 0o700, owner: nonRoot},
	})
	if err != nil {
		return nil, err
	}
	top, err := layer(o.made, []entry{{name: "usr/bin/ops-meta", mode: 0o755, content: program}})
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, base, top)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", o.arch, v1.Time{Time: o.made}
	file.Config = v1.Config{
		User:         fmt.Sprintf("%d:%d", nonRoot, nonRoot),
		Entrypoint:   []string{"/usr/bin/ops-meta"},
		Cmd:          []string{"serve"},
		Env:          []string{"PATH=/usr/bin", "HOME=" + dataDir, "OPS_META_DATA=" + dataDir, "OPS_META_LISTEN=:2000"},
		WorkingDir:   dataDir,
		Volumes:      map[string]struct{}{dataDir: {}},
		ExposedPorts: map[string]struct{}{"2000/tcp": {}},
		StopSignal:   "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title":    "ops-meta",
			"org.opencontainers.image.version":  o.version,
			"org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.source":   "https://github.com/ops-updater/ops-updater",
		},
	}
	return mutate.ConfigFile(image, file)
}

// authorities are the certificate authorities that Mozilla trusts, as one file of PEM:
// webhooks and mail go out by TLS.
func authorities() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		_ = pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a bytes.Buffer takes everything
	}
	return all.Bytes()
}

// entry is a file of a layer, or with a slash at its end a directory.
type entry struct {
	name    string
	mode    int64
	owner   int
	content []byte
}

func layer(made time.Time, entries []entry) (v1.Layer, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Uid: e.owner, Gid: e.owner, Size: int64(len(e.content)), ModTime: made, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if e.name[len(e.name)-1] == '/' {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
}
