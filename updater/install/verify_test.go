package install_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/install"
	"github.com/ops-updater/ops-updater/updater/job"
)

const arch = "linux_amd64"

func newKey(t testing.TB) trust.PrivateKey {
	t.Helper()
	k, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// paths answers by the path, with a 404 for the rest.
func paths(m map[string]http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if h := m[r.URL.Path]; h != nil {
			h(w, r)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}
}

const (
	tarballPath   = "/agent-1.0.0.tar.gz"
	signaturePath = tarballPath + ".minisig"
)

// asked counts the requests for path.
func (o *origin) asked(path string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.requests {
		if r.URL.Path == path {
			n++
		}
	}
	return n
}

func require(j job.Install, keys ...trust.PublicKey) job.Install {
	j.Verify = job.Verify{Mode: meta.TrustRequire, Keys: keys, Arch: arch}
	return j
}

// legacySignature is of minisign's older kind, over the bytes themselves.
func legacySignature(t *testing.T, k trust.PrivateKey, data []byte) []byte {
	t.Helper()
	file, err := k.File("")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Split(string(file), "\n")[1])
	if err != nil {
		t.Fatal(err)
	}
	// Algorithms and the salt of a password, then the key's id, then the key.
	const at = 2 + 2 + 2 + 32 + 8 + 8
	id, key := raw[at:at+8], ed25519.PrivateKey(raw[at+8:at+8+ed25519.PrivateKeySize])
	signature := ed25519.Sign(key, data)
	comment := trust.Release("agent", "1.0.0", arch).Comment()
	global := ed25519.Sign(key, append(bytes.Clone(signature), comment...))
	blob := append(append([]byte("Ed"), id...), signature...)
	return []byte("untrusted comment: x\n" + base64.StdEncoding.EncodeToString(blob) + "\ntrusted comment: " + comment + "\n" + base64.StdEncoding.EncodeToString(global) + "\n")
}

func TestI4WhatNoKeyThatCountsHasSignedIsRefusedOrReported(t *testing.T) {
	r, ours, other := newRelease(t, 1000), newKey(t), newKey(t)
	this := trust.Release("agent", "1.0.0", arch)
	good := ours.Sign(r.tarball, this)
	forged := bytes.Replace(ours.Sign(r.tarball, trust.Release("agent", "0.9.0", arch)), []byte("version=0.9.0"), []byte("version=1.0.0"), 1)
	endless := func(w http.ResponseWriter, r *http.Request) {
		for line := bytes.Repeat([]byte("x"), 4<<10); ; {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}
	cases := []struct {
		name      string
		signature http.HandlerFunc
		keys      trust.Keys
		code      string
		early     bool // refused before the tarball is asked for
	}{
		{"none", status(404), nil, install.CodeUnsigned, true},
		{"forbidden, as a store of objects says it", status(403), nil, install.CodeUnsigned, true},
		{"gone", status(410), nil, install.CodeUnsigned, true},
		{"no keys", says(string(good)), trust.Keys{}, install.CodeNoKeys, true},
		{"of a key that does not count", says(string(other.Sign(r.tarball, this))), nil, install.CodeUnknownKey, true},
		{"a page", says("<html>log in</html>"), nil, install.CodeBadSignature, true},
		{"empty", says(""), nil, install.CodeBadSignature, true},
		{"huge", says(string(good) + strings.Repeat("\n", 64<<10)), nil, install.CodeBadSignature, true},
		{"endless", endless, nil, install.CodeBadSignature, true},
		{"of minisign's older kind", says(string(legacySignature(t, ours, r.tarball))), nil, install.CodeBadSignature, true},
		{"of other bytes", says(string(ours.Sign([]byte("another tarball"), this))), nil, install.CodeBadSignature, false},
		{"with a comment that was changed", says(string(forged)), nil, install.CodeBadSignature, false},
		{"of another version", says(string(ours.Sign(r.tarball, trust.Release("agent", "0.9.0", arch)))), nil, install.CodeOtherSubject, false},
		{"of another agent", says(string(ours.Sign(r.tarball, trust.Release("other", "1.0.0", arch)))), nil, install.CodeOtherSubject, false},
		{"for another arch", says(string(ours.Sign(r.tarball, trust.Release("agent", "1.0.0", "linux_arm64")))), nil, install.CodeOtherSubject, false},
		{"of a configuration", says(string(ours.Sign(r.tarball, trust.Config("agent", "1.0.0")))), nil, install.CodeOtherSubject, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys := c.keys
			if keys == nil {
				keys = trust.Keys{ours.Public()}
			}
			o := serve(t, paths(map[string]http.HandlerFunc{tarballPath: content(r.tarball), signaturePath: c.signature}))
			j := require(testJob(t, r, o.URL+tarballPath), keys...)
			_, err := install.Run(t.Context(), j, nil)
			mustFail(t, err, c.code, false)
			if _, err := os.Stat(filepath.Join(j.Dir, j.Version)); err == nil {
				t.Error("it is in its place")
			}
			if early := o.asked(tarballPath) == 0; early != c.early {
				t.Errorf("refused before the tarball was asked for: %v, want %v", early, c.early)
			}

			j.Verify.Mode = meta.TrustWarn
			done, err := install.Run(t.Context(), j, nil)
			if err != nil || done.Proof.Code != c.code || done.Proof.Why == "" || done.Proof.Key != "" {
				t.Errorf("with a warning: %+v, %v", done.Proof, err)
			}
			r.mustBe(t, j)

			j.Verify = job.Verify{Mode: meta.TrustOff, Keys: keys}
			j.Version = "1.0.1"
			before := o.asked(signaturePath)
			if done, err = install.Run(t.Context(), j, nil); err != nil || done.Proof != (job.Proof{}) || o.asked(signaturePath) != before {
				t.Errorf("with nothing verified: %+v, %v, %d requests for the signature", done.Proof, err, o.asked(signaturePath)-before)
			}
		})
	}
}

func TestASignedReleaseIsInstalledAndSaysWhoSignedIt(t *testing.T) {
	r, ours := newRelease(t, 300_000), newKey(t)
	signature := says(string(ours.Sign(r.tarball, trust.Release("agent", "1.0.0", arch))))
	moved := serve(t, paths(map[string]http.HandlerFunc{"/signature": signature}))
	for name, signature := range map[string]http.HandlerFunc{
		"beside the tarball":                   signature,
		"the server is busy, then it is there": inTurn(status(503), status(500), signature),
		"behind a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, moved.URL+"/signature", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := serve(t, paths(map[string]http.HandlerFunc{tarballPath: content(r.tarball), signaturePath: signature}))
			j := require(testJob(t, r, o.URL+tarballPath), newKey(t).Public(), ours.Public())
			done, err := install.Run(t.Context(), j, nil)
			if err != nil || done.Proof != (job.Proof{Key: ours.Public().ID()}) {
				t.Errorf("%+v, %v", done.Proof, err)
			}
			r.mustBe(t, j)
		})
	}
}

// The ordinary tool signs, in its prehashed form, with the trusted comment given to it.
func TestMinisignItselfSignsAReleaseThatIsInstalled(t *testing.T) {
	tool, err := exec.LookPath("minisign")
	if err != nil {
		t.Skip("SKIPPED: minisign is not installed")
	}
	r, dir := newRelease(t, 1000), t.TempDir()
	file := filepath.Join(dir, "agent.tar.gz")
	if err := os.WriteFile(file, r.tarball, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-G", "-W", "-f", "-p", filepath.Join(dir, "key.pub"), "-s", filepath.Join(dir, "key")},
		{"-S", "-H", "-s", filepath.Join(dir, "key"), "-m", file, "-t", trust.Release("agent", "1.0.0", arch).Comment()},
	} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("minisign %v: %v\n%s", args, err, out)
		}
	}
	public, err := os.ReadFile(filepath.Join(dir, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.ParsePublicKey(string(public))
	if err != nil {
		t.Fatal(err)
	}
	o := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, file+strings.TrimPrefix(r.URL.Path, tarballPath))
	})
	j := require(testJob(t, r, o.URL+tarballPath), key)
	if done, err := install.Run(t.Context(), j, nil); err != nil || done.Proof.Key != key.ID() {
		t.Errorf("%+v, %v", done.Proof, err)
	}
	r.mustBe(t, j)
}

// The query of an address may be what lets it be had.
func TestTheSignatureIsAskedForWithTheQueryOfTheTarball(t *testing.T) {
	r, ours := newRelease(t, 1000), newKey(t)
	signature := ours.Sign(r.tarball, trust.Release("agent", "1.0.0", arch))
	o := serve(t, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.RawQuery != "token=a%2Fb":
			w.WriteHeader(http.StatusBadRequest)
		case req.URL.EscapedPath() == "/a%2Fb"+signaturePath:
			_, _ = w.Write(signature)
		default:
			content(r.tarball)(w, req)
		}
	})
	j := require(testJob(t, r, o.URL+"/a%2Fb"+tarballPath+"?token=a%2Fb"), ours.Public())
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Error(err)
	}
}

func TestAServerThatKeepsTheSignatureFromUsIsAnOrdinaryFault(t *testing.T) {
	r, ours := newRelease(t, 1000), newKey(t)
	for code, signature := range map[string]http.HandlerFunc{
		install.CodeServerError: status(500),
		install.CodeServerBusy:  status(429),
		install.CodeUnreachable: cutAfter(20, says(string(ours.Sign(r.tarball, trust.Release("agent", "1.0.0", arch))))),
		install.CodeStalled:     stalling([]byte("untrusted comment: "+strings.Repeat("x", 500)), 1),
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			o := serve(t, paths(map[string]http.HandlerFunc{tarballPath: content(r.tarball), signaturePath: signature}))
			j := require(testJob(t, r, o.URL+tarballPath), ours.Public())
			j.Limits.Retries = 1
			if code == install.CodeStalled {
				j.Limits.StallTimeout = haste
			}
			_, err := install.Run(t.Context(), j, nil)
			mustFail(t, err, code, false)
			if n := o.asked(signaturePath); n != 2 {
				t.Errorf("asked %d times, want 2", n)
			}
			mustHold(t, j.Dir, ".part-agent-1.0.0") // nothing in it yet; the next run goes on with it
		})
	}
}

func TestAMirrorWithoutTheRightSignatureIsPassedOver(t *testing.T) {
	r, tampered, ours := newRelease(t, 1000), newRelease(t, 2000), newKey(t)
	signature := says(string(ours.Sign(r.tarball, trust.Release("agent", "1.0.0", arch))))
	good := map[string]http.HandlerFunc{tarballPath: content(r.tarball), signaturePath: signature}
	for name, c := range map[string]struct {
		bad  map[string]http.HandlerFunc
		code string
	}{
		"it has none":               {map[string]http.HandlerFunc{tarballPath: content(r.tarball)}, install.CodeUnsigned},
		"it has another":            {map[string]http.HandlerFunc{tarballPath: content(r.tarball), signaturePath: says(string(ours.Sign(r.tarball, trust.Release("agent", "2", arch))))}, install.CodeOtherSubject},
		"it has another tarball":    {map[string]http.HandlerFunc{tarballPath: content(tampered.tarball), signaturePath: signature}, ""},
		"it has nothing whatsoever": {nil, install.CodeUnsigned},
	} {
		t.Run(name, func(t *testing.T) {
			bad, right := serve(t, paths(c.bad)), serve(t, paths(good))
			j := require(testJob(t, r, bad.URL+tarballPath, right.URL+tarballPath), ours.Public())
			if done, err := install.Run(t.Context(), j, nil); err != nil || done.Proof.Key == "" {
				t.Fatalf("%+v, %v", done, err)
			}
			r.mustBe(t, j)
			if c.code == "" {
				return
			}
			j = require(testJob(t, r, bad.URL+tarballPath, bad.URL+tarballPath), ours.Public())
			_, err := install.Run(t.Context(), j, nil)
			mustFail(t, err, c.code, false)
		})
	}
}

// The server that says the digest may be the one that was taken over.
func TestI4ATamperedTarballWithItsOwnDigestIsRefusedByTheSignature(t *testing.T) {
	r, tampered, ours := newRelease(t, 1000), newRelease(t, 2000), newKey(t)
	signature := says(string(ours.Sign(r.tarball, trust.Release("agent", "1.0.0", arch))))
	serves := content(tampered.tarball)
	o := serve(t, paths(map[string]http.HandlerFunc{tarballPath: func(w http.ResponseWriter, r *http.Request) { serves(w, r) }, signaturePath: signature}))
	j := require(testJob(t, tampered, o.URL+tarballPath), ours.Public())
	_, err := install.Run(t.Context(), j, nil)
	mustFail(t, err, install.CodeBadSignature, false)
	mustHold(t, j.Dir) // not the part either: nothing would make it right

	serves, j.MD5 = content(r.tarball), r.md5
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
	r.mustBe(t, j)
}

// What was downloaded before a signature was there is not downloaded again.
func TestASignatureThatArrivesLaterNeedsNoSecondDownload(t *testing.T) {
	r, ours := newRelease(t, 300_000), newKey(t)
	signature := inTurn(
		says(string(ours.Sign(r.tarball, trust.Release("agent", "0.9.0", arch)))),
		says(string(ours.Sign(r.tarball, trust.Release("agent", "1.0.0", arch)))),
	)
	o := serve(t, paths(map[string]http.HandlerFunc{tarballPath: content(r.tarball), signaturePath: signature}))
	j := require(testJob(t, r, o.URL+tarballPath), ours.Public())
	_, err := install.Run(t.Context(), j, nil)
	mustFail(t, err, install.CodeOtherSubject, false)
	if done, err := install.Run(t.Context(), j, nil); err != nil || done.Proof.Key == "" {
		t.Fatalf("%+v, %v", done, err)
	}
	r.mustBe(t, j)
	if n := o.asked(tarballPath); n != 1 {
		t.Errorf("the tarball was asked for %d times", n)
	}
}

// A version from before anything was verified proves nothing by being there.
func TestAVersionThatIsThereIsVerifiedAnewWhenToldSo(t *testing.T) {
	old, r, ours := newRelease(t, 2000), newRelease(t, 1000), newKey(t)
	o := serve(t, paths(map[string]http.HandlerFunc{tarballPath: content(old.tarball)}))
	j := testJob(t, old, o.URL+tarballPath)
	if _, err := install.Run(t.Context(), j, nil); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(j.Dir, "1.0.0", "bin", "large")
	if err := os.WriteFile(own, []byte("somebody changed it"), 0o600); err != nil {
		t.Fatal(err)
	}

	signed := map[string]http.HandlerFunc{tarballPath: content(r.tarball)}
	o = serve(t, paths(signed))
	j.Tarballs, j.MD5 = []string{o.URL + tarballPath}, r.md5
	j = require(j, ours.Public())
	if done, err := install.Run(t.Context(), j, nil); err != nil || !done.Present || done.Proof != (job.Proof{}) {
		t.Fatalf("without being told: %+v, %v", done, err)
	}
	j.Anew = true
	_, err := install.Run(t.Context(), j, nil)
	mustFail(t, err, install.CodeUnsigned, false)
	if b, err := os.ReadFile(own); err != nil || string(b) != "somebody changed it" {
		t.Fatalf("what was there is gone: %q, %v", b, err)
	}

	signed[signaturePath] = says(string(ours.Sign(r.tarball, trust.Release("agent", "1.0.0", arch))))
	if done, err := install.Run(t.Context(), j, nil); err != nil || done.Present || done.Proof.Key == "" {
		t.Fatalf("%+v, %v", done, err)
	}
	r.mustBe(t, j)
}

func TestARemoteConfigurationIsVerified(t *testing.T) {
	ours, r := newKey(t), newRelease(t, 1000)
	text := "interval = 60\n"
	sign := func(name, file string) http.HandlerFunc {
		return says(string(ours.Sign([]byte(text), trust.Config(name, file))))
	}
	for name, c := range map[string]struct {
		signature http.HandlerFunc
		code      string
	}{
		"signed":           {sign("agent", "agent.toml"), ""},
		"not signed":       {status(404), install.CodeUnsigned},
		"of another agent": {sign("other", "agent.toml"), install.CodeOtherSubject},
		"of another file":  {sign("agent", "other.toml"), install.CodeOtherSubject},
		"of other bytes":   {says(string(ours.Sign([]byte("interval = 1\n"), trust.Config("agent", "agent.toml")))), install.CodeBadSignature},
		"server away":      {status(502), install.CodeServerError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := serve(t, paths(map[string]http.HandlerFunc{
				tarballPath: content(r.tarball), "/agent.toml": says(text), "/agent.toml.minisig": c.signature,
			}))
			j := testJob(t, r, o.URL+tarballPath)
			j.Limits.Retries = 0
			j.Config = &job.RemoteConfig{FileName: "agent.toml", URL: o.URL + "/agent.toml", Agent: "agent", Verify: job.Verify{Mode: meta.TrustRequire, Keys: trust.Keys{ours.Public()}}}
			done, err := install.Run(t.Context(), j, nil)
			if c.code != "" {
				mustFail(t, err, c.code, false)
				if _, err := os.Stat(filepath.Join(j.Dir, j.Version)); err == nil {
					t.Error("it is in its place")
				}
				j.Config.Verify.Mode = meta.TrustWarn
				want := c.code
				if c.code == install.CodeServerError {
					want = install.CodeUnsigned
				}
				if done, err = install.Run(t.Context(), j, nil); err != nil || done.Config.Code != want {
					t.Errorf("with a warning: %+v, %v", done.Config, err)
				}
				j.Config.Verify.Mode = meta.TrustRequire
			} else if err != nil || done.Config.Key != ours.Public().ID() {
				t.Fatalf("%+v, %v", done.Config, err)
			}

			file := filepath.Join(j.Dir, j.Version, "agent.toml")
			if err := os.WriteFile(file, []byte("before"), 0o600); err != nil {
				t.Fatal(err)
			}
			fetched, err := install.FetchConfig(t.Context(), j.Dir, j.Version, *j.Config, j.Limits)
			if c.code != "" {
				mustFail(t, err, c.code, false)
				if b, _ := os.ReadFile(file); string(b) != "before" {
					t.Errorf("the file is now %q", b)
				}
				return
			}
			if err != nil || !fetched.Changed || fetched.Proof.Key == "" {
				t.Errorf("%+v, %v", fetched, err)
			}
		})
	}
}

func TestAJobWhoseTrustIsUnclearIsRefused(t *testing.T) {
	r := newRelease(t, 1000)
	o := serve(t, content(r.tarball))
	for _, v := range []job.Verify{{Mode: "requires", Arch: arch}, {Mode: meta.TrustRequire}} {
		j := testJob(t, r, o.URL+tarballPath)
		j.Verify = v
		_, err := install.Run(t.Context(), j, nil)
		mustFail(t, err, install.CodeBadJob, true)
	}
}

// A download that is cut and gone on with is hashed as one.
func TestADownloadThatWasCutIsVerifiedAsOne(t *testing.T) {
	r, ours := newRelease(t, 3_000_000), newKey(t)
	o := serve(t, paths(map[string]http.HandlerFunc{
		tarballPath:   inTurn(cutAfter(1_000_000, content(r.tarball)), content(r.tarball)),
		signaturePath: says(string(ours.Sign(r.tarball, trust.Release("agent", "1.0.0", arch)))),
	}))
	j := require(testJob(t, r, o.URL+tarballPath), ours.Public())
	start := time.Now()
	if _, err := install.Run(t.Context(), j, nil); err != nil { // cut and gone on with: the digest is of both parts
		t.Fatal(err)
	}
	t.Logf("%d bytes in %v", len(r.tarball), time.Since(start))
	if n := o.asked(signaturePath); n != 1 {
		t.Errorf("the signature was asked for %d times", n)
	}
}
