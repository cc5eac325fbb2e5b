package release_test

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/release"
	"github.com/ops-updater/ops-updater/meta/trust"
)

func TestSignatureIsCheckedByTheKeysThatCount(t *testing.T) {
	s, content := openStore(t, t.TempDir()), tarball(t, control)
	a := receive(t, s, declared, content)
	if digest, err := s.Digest(t.Context(), a.SHA256); err != nil || digest != a.Blake2b || digest == "" {
		t.Fatalf("digest of what is kept %q, %v; computed on arrival %q", digest, err, a.Blake2b)
	}
	newKey := func() trust.PrivateKey {
		key, err := trust.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key, other := newKey(), newKey()
	of := trust.Release(a.Agent, a.Version, a.Arch)
	without := a
	without.Blake2b = ""
	cases := map[string]struct {
		artifact api.Artifact
		file     []byte
		keys     trust.Keys
		verified bool
		refused  string // part of the error
	}{
		"good":                   {a, key.Sign(content, of), trust.Keys{other.Public(), key.Public()}, true, ""},
		"of a key of nobody's":   {a, key.Sign(content, of), trust.Keys{other.Public()}, false, ""},
		"no keys":                {a, key.Sign(content, of), nil, false, ""},
		"no digest":              {without, key.Sign(content, of), trust.Keys{key.Public()}, false, ""},
		"of other bytes":         {a, key.Sign([]byte("other"), of), trust.Keys{key.Public()}, false, "is not of these bytes"},
		"with a comment changed": {a, []byte(strings.Replace(string(key.Sign(content, trust.Release(a.Agent, "0", a.Arch))), "version=0", "version="+a.Version, 1)), trust.Keys{key.Public()}, false, "is not the one that key"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			signature, err := release.ReadSignature(api.ReleaseKey{Agent: a.Agent, Version: a.Version, Arch: a.Arch}, string(c.file))
			if err != nil {
				t.Fatal(err)
			}
			verified, err := release.CheckSignature(signature, c.keys, c.artifact)
			if verified != c.verified || (err == nil) != (c.refused == "") || err != nil && (api.KindOf(err) != api.KindInvalid || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("got %v, %v", verified, err)
			}
		})
	}
}
