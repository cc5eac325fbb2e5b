package release_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/release"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// FuzzParseS3: an address that is taken names a store and a bucket, and its refusal
// does not tell the secret.
func FuzzParseS3(f *testing.F) {
	for _, s := range []string{"s3://KEY:topsecret@host:9000/bucket/prefix?tls=false", "s3://h/b", "http://h/b", "s3://K:topsecret@h", "s3://K:topsecret@h/b?region=x&zzz=1", "s3://%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		c, err := release.ParseS3(address)
		if err != nil {
			// The secret is one where the secret stands, not where nobody would put it.
			if strings.Contains(address, ":topsecret@") && strings.Count(address, "topsecret") == 1 && strings.Contains(err.Error(), "topsecret") {
				t.Fatalf("%q: %v", address, err)
			}
			return
		}
		if c.Endpoint == "" || c.Bucket == "" || strings.Contains(c.Bucket, "/") || strings.HasPrefix(c.Prefix, "/") || c.AccessKey == "" {
			t.Fatalf("%q was taken as %+v", address, c)
		}
	})
}

// FuzzReadSignature: what is read as a signature of a release is one of that release.
func FuzzReadSignature(f *testing.F) {
	key, err := trust.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	of := api.ReleaseKey{Agent: "falcon-agent", Version: "5.1.3", Arch: "linux_amd64"}
	f.Add(string(key.Sign([]byte("x"), trust.Release(of.Agent, of.Version, of.Arch))))
	f.Add(string(key.Sign([]byte("x"), trust.Release("other", of.Version, of.Arch))))
	f.Add("untrusted comment:")
	f.Fuzz(func(t *testing.T, file string) {
		s, err := release.ReadSignature(of, file)
		if err == nil && s.Subject != trust.Release(of.Agent, of.Version, of.Arch) {
			t.Fatalf("%q was read as of %s", file, s.Subject)
		}
		if err != nil && api.KindOf(err) != api.KindInvalid {
			t.Fatalf("%q: %v", file, err)
		}
	})
}

// FuzzUpload: what is taken as an artifact is described by its own bytes.
func FuzzUpload(f *testing.F) {
	f.Add([]byte("no tarball"))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := openStore(t, t.TempDir()).Receive(t.Context(), declared, bytes.NewReader(data))
		if err != nil {
			return
		}
		sum := sha256.Sum256(data)
		if a.SHA256 != hex.EncodeToString(sum[:]) || a.Size != int64(len(data)) {
			t.Fatalf("%d bytes were taken as %+v", len(data), a)
		}
	})
}
