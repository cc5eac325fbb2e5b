package attacks

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// signed makes the victim require signatures of releases, and signs those of the
// honest server.
type signed struct {
	*victim
	key trust.PrivateKey
}

func newSigned(t *testing.T, change func(v *victim)) *signed {
	t.Helper()
	key, err := trust.NewKey()
	must(t, err)
	s := &signed{key: key}
	s.victim = newVictim(t, func(v *victim) {
		s.victim = v
		v.config["trust"] = map[string]any{"releases": "require", "release_keys": []string{key.Public().String()}}
		v.server.wants(s.release("falcon", "1.0.0"), s.release("bystander", "1.0.0"))
		if change != nil {
			change(v)
		}
	})
	return s
}

func (s *signed) in(t *testing.T) *signed { return &signed{victim: s.victim.in(t), key: s.key} }

// release is one that the owner of the key released.
func (s *signed) release(name, version string) meta.DesiredAgent {
	s.t.Helper()
	data, _ := agenttest.Habits{}.Tarball(s.t)
	return s.releaseWith(name, version, data, s.key.Sign(data, trust.Release(name, version, meta.Arch())))
}

// releaseWith is a release with whatever stands for its signature; nil: none.
func (s *signed) releaseWith(name, version string, data, signature []byte) meta.DesiredAgent {
	a := s.server.releaseOf(name, version, data)
	s.server.serveFile("/releases/"+meta.Arch()+"/"+meta.TarballName(name, version)+trust.Extension, func(w http.ResponseWriter, r *http.Request) {
		if signature == nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(signature)
	})
	return a
}

func (s *signed) recovers() {
	s.t.Helper()
	s.server.wants(s.release("falcon", "2.0.0"), s.release("bystander", "1.0.0"))
	s.runs("falcon", "2.0.0")
}

// The server is in the attacker's hands: digests fit whatever it hands out.
func TestArbitraryAndWrongSoftwareIsRefused(t *testing.T) {
	s := newSigned(t, nil)
	theirs, err := trust.NewKey()
	must(t, err)
	arch := meta.Arch()
	for name, c := range map[string]struct {
		sign func(s *signed, data []byte, version string) []byte
		want trust.Code
	}{
		"unsigned":     {func(*signed, []byte, string) []byte { return nil }, trust.Unsigned},
		"no signature": {func(*signed, []byte, string) []byte { return []byte("<html>not here</html>") }, trust.BadSignature},
		"another's key": {func(_ *signed, data []byte, v string) []byte {
			return theirs.Sign(data, trust.Release("falcon", v, arch))
		}, trust.UnknownKey},
		"of other bytes": {func(s *signed, _ []byte, v string) []byte {
			return s.key.Sign([]byte("other bytes"), trust.Release("falcon", v, arch))
		}, trust.BadSignature},
		"of another version": {func(s *signed, data []byte, _ string) []byte {
			return s.key.Sign(data, trust.Release("falcon", "1.0.0", arch))
		}, trust.OtherSubject},
		"of another name": {func(s *signed, data []byte, v string) []byte {
			return s.key.Sign(data, trust.Release("bystander", v, arch))
		}, trust.OtherSubject},
		"of another arch": {func(s *signed, data []byte, v string) []byte {
			return s.key.Sign(data, trust.Release("falcon", v, "plan9_arm"))
		}, trust.OtherSubject},
		"of a configuration": {func(s *signed, data []byte, _ string) []byte {
			return s.key.Sign(data, trust.Config("falcon", "cfg.json"))
		}, trust.OtherSubject},
		"comment changed": {func(s *signed, data []byte, v string) []byte {
			return bytes.Replace(s.key.Sign(data, trust.Release("falcon", "1.0.0", arch)), []byte("version=1.0.0"), []byte("version="+v), 1)
		}, trust.BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			data, _ := s.evil().Tarball(t)
			version := s.evilRelease().Version
			evil := s.releaseWith("falcon", version, data, c.sign(s, data, version))
			s.server.wants(evil, s.release("bystander", "1.0.0"))
			s.refused(string(c.want))
		})
	}
	s.recovers()
}

func TestAMaliciousMirrorIsPassedOver(t *testing.T) {
	s := newSigned(t, nil)
	evil, _ := s.evil().Tarball(t)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(evil) }))
	t.Cleanup(mirror.Close)
	honest := s.release("falcon", "2.0.0")
	honest.Tarball, honest.Mirrors = mirror.URL, meta.AddressesOf(s.server.URL+"/releases")
	s.server.wants(honest, s.release("bystander", "1.0.0"))
	s.runs("falcon", "2.0.0")
	s.pid["falcon"] = s.lastUp("falcon")
	s.unharmed()
}

// A stolen online key, the server's, makes hosts do what was released, within
// their policy, and nothing else.
func TestAStolenOnlineKeyIsLimitedToReleasesAndPolicy(t *testing.T) {
	stolen, err := trust.NewKey()
	must(t, err)
	s := newSigned(t, func(v *victim) {
		v.server.key = &stolen
		v.config["trust"].(map[string]any)["desired"] = "require"
		v.config["trust"].(map[string]any)["server_keys"] = []string{stolen.Public().String()}
		v.config["policy"] = map[string]any{"downgrade": false, "run_users": []string{me()}, "agents": []string{"falcon", "bystander"}}
	})
	data, _ := s.evil().Tarball(t)
	evil := s.releaseWith("falcon", "6.6.6", data, stolen.Sign(data, trust.Release("falcon", "6.6.6", meta.Arch())))
	s.server.wants(evil, s.release("bystander", "1.0.0"))
	s.refused(string(trust.UnknownKey))
	s.server.wants(s.release("falcon", "0.9.0"), s.release("bystander", "1.0.0")) // released once, and mended since
	s.refused("policy")
	other := s.release("falcon", "1.0.1")
	other.RunUser = "daemon"
	s.server.wants(other, s.release("bystander", "1.0.0"))
	s.refused("policy")
	s.recovers()
}

func TestASignatureThatComesLaterIsEnough(t *testing.T) {
	s := newSigned(t, nil)
	data, _ := agenttest.Habits{BeforeStatus: "# another release"}.Tarball(t)
	late := s.releaseWith("falcon", "2.0.0", data, nil)
	s.server.wants(late, s.release("bystander", "1.0.0"))
	s.refused(string(trust.Unsigned))
	s.releaseWith("falcon", "2.0.0", data, s.key.Sign(data, trust.Release("falcon", "2.0.0", meta.Arch())))
	late.Retry = time.Now().Unix() // what `ops-meta rollout retry` says
	s.server.wants(late, s.release("bystander", "1.0.0"))
	s.runs("falcon", "2.0.0")
}
