package server_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// signs puts the signature of a key beside a release that was published.
func (r *running) signs(t testing.TB, k trust.PrivateKey, a api.Artifact) {
	t.Helper()
	got := r.raw(t, "GET", "/releases/"+a.Agent+"/"+a.Arch+"/"+meta.TarballName(a.Agent, a.Version), nil)
	if _, err := r.admin.PutSignature(t.Context(), a, bytes.NewReader(k.Sign(got.body, trust.Release(a.Agent, a.Version, a.Arch)))); err != nil {
		t.Fatal(err)
	}
}

// verifying is a host that runs demo in a version, and verifies releases with keys.
func verifying(name string, mode meta.TrustMode, version string, keys ...trust.PrivateKey) meta.HeartbeatRequest {
	b := newBeliever(name).beat
	b.Trust = &meta.TrustReport{Releases: mode, Configs: meta.TrustOff, Desired: meta.TrustOff}
	for _, k := range keys {
		b.Trust.Keys = append(b.Trust.Keys, k.Public().ID())
	}
	if version != "" {
		b.RealAgents = []meta.RealAgent{{Name: "demo", Version: version, Status: meta.StatusStarted, Phase: meta.PhaseIdle}}
	}
	return b
}

func (r *running) hears(t testing.TB, hosts ...meta.HeartbeatRequest) {
	t.Helper()
	for _, b := range hosts {
		if _, code := r.heartbeat(t, "", b); code != 200 {
			t.Fatalf("heartbeat of %s: %d", b.Hostname, code)
		}
	}
}

// explained is what a host is told of demo.
func (r *running) explained(t testing.TB, host string) api.AgentExplanation {
	t.Helper()
	e, err := r.admin.Explain(t.Context(), host)
	if err != nil || len(e.Agents) != 1 {
		t.Fatalf("%s: %+v, %v", host, e, err)
	}
	return e.Agents[0]
}

func TestExplainSaysWhichReleaseAHostRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r, ours, theirs := start(t, conf), newKey(t), newKey(t)
		r.publish(t, "demo", "1.0")
		r.signs(t, theirs, r.publish(t, "demo", "2.0"))
		held := verifying("told", meta.TrustRequire, "0.9", ours)
		held.RealAgents[0].DesiredVersion, held.RealAgents[0].Error, held.RealAgents[0].Reason = "1.0", "refused: policy.downgrade", "policy"
		r.hears(t, held, verifying("off", meta.TrustOff, "0.9"), verifying("warns", meta.TrustWarn, "0.9", ours), verifying("requires", meta.TrustRequire, "", ours),
			verifying("keyless", meta.TrustRequire, "0.9"), verifying("has-it", meta.TrustRequire, "1.0", ours), verifying("knows", meta.TrustRequire, "0.9", ours, theirs))
		for _, version := range []string{"1.0", "2.0"} {
			r.deploy(t, "demo", version)
			for host, want := range map[string]map[string]string{
				"off":      {},
				"warns":    {"1.0": "unsigned: installed with a warning", "2.0": "unknown-key: installed with a warning"},
				"requires": {"1.0": "unsigned: release 1.0 is not signed: it is refused", "2.0": "unknown-key: which does not count there: it is refused"},
				"keyless":  {"1.0": "no-keys: no release key counts on it: it is refused", "2.0": "no-keys: it is refused"},
				"has-it":   {"2.0": "unknown-key: it is refused"},
				"knows":    {"1.0": "unsigned: it is refused"},
			} {
				code, text, _ := strings.Cut(want[version], ": ")
				a := r.explained(t, host)
				switch {
				case a.Version != version:
					t.Errorf("%s is told %s", host, a.Version)
				case a.Refusal == nil && code == "":
				case a.Refusal == nil || a.Refusal.Code != code || !strings.Contains(a.Refusal.Text, text) || a.Refusal.Hint == "" || a.Refusal.Warns != (host == "warns"):
					t.Errorf("%s, %s: %+v; want %s: %s", host, version, a.Refusal, code, text)
				case code == "unsigned" && (!strings.Contains(a.Refusal.Text, ours.Public().ID()) || !strings.Contains(a.Refusal.Hint, "ops-meta releases sign demo "+version)):
					t.Errorf("%s, %s: %+v", host, version, a.Refusal)
				}
			}
			if a := r.explained(t, "told"); (a.HostReason == "policy") != (version == "1.0") || (a.HostError != "") != (version == "1.0") {
				t.Errorf("what the host says of %s: %q, %q", version, a.HostReason, a.HostError)
			}
		}
		e, err := r.admin.Explain(t.Context(), "requires")
		if err != nil || e.Trust == nil || !slices.Equal(e.Trust.Keys, []string{ours.Public().ID()}) {
			t.Errorf("%+v, %v", e.Trust, err)
		}
		if page := r.page(t, r.token, "/hosts/requires"); !strings.Contains(string(page.body), "which does not count there: it is refused (unknown-key)") || !strings.Contains(string(page.body), "ops-meta releases sign demo 2.0") {
			t.Errorf("the page does not say it: %s", page.body)
		}
	})
}

// What every host of a scope would refuse is not rolled out nor assigned to it, as what
// none can have is not; what only some refuse is warned of.
func TestWhatEveryHostWouldRefuseIsNotDeployed(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r, ours, later := start(t, conf), newKey(t), newKey(t)
		r.publish(t, "demo", "1.0")
		r.signs(t, ours, r.publish(t, "demo", "2.0"))
		r.signs(t, later, r.publish(t, "demo", "3.0"))
		arm := verifying("arm", meta.TrustRequire, "", ours)
		arm.Arch = "linux_arm64"
		r.hears(t, arm, verifying("strict-1", meta.TrustRequire, "", ours), verifying("strict-2", meta.TrustRequire, "0.9", ours), verifying("runs-it", meta.TrustRequire, "1.0", ours),
			verifying("warns", meta.TrustWarn, "", ours), verifying("off", meta.TrustOff, ""))
		group := func(name string, hosts ...string) api.Scope {
			t.Helper()
			if _, err := r.admin.PutGroup(t.Context(), api.Group{Name: name, Selector: api.Selector{Hosts: hosts}}); err != nil {
				t.Fatal(err)
			}
			return api.Scope{Kind: api.ScopeGroup, Name: name}
		}
		strict, mixed := group("strict", "strict-1", "strict-2", "arm"), group("mixed", "strict-1", "warns")
		for name, c := range map[string]struct {
			scope            api.Scope
			version, refused string
			warned           int
		}{
			"all require it":               {strict, "1.0", "no host of group:strict would take demo 1.0: 2 hosts require a signature that it does not have", 2},
			"of a key that does not count": {strict, "3.0", "2 hosts require a signature", 2},
			"one host":                     {api.Scope{Kind: api.ScopeHost, Name: "strict-1"}, "1.0", "1 host requires a signature", 1},
			"signed":                       {strict, "2.0", "", 0},
			"some take it":                 {mixed, "1.0", "", 1},
			"it only warns":                {api.Scope{Kind: api.ScopeHost, Name: "warns"}, "1.0", "", 0},
			"it runs there":                {api.Scope{Kind: api.ScopeHost, Name: "runs-it"}, "1.0", "", 0},
			"everyone":                     {api.Scope{Kind: api.ScopeEveryone}, "1.0", "", 2},
		} {
			t.Run(name, func(t *testing.T) {
				n := api.NewRollout{Agent: "demo", Version: c.version, Scope: c.scope, Draft: true}
				as := api.Assignment{Agent: "demo", Version: c.version, Scope: c.scope}
				for how, err := range map[string]error{
					"a rollout": second(r.admin.TryRollout(t.Context(), n)), "an assignment": second(r.admin.Assign(t.Context(), as, api.AssignOptions{DryRun: true})),
				} {
					p := problem(err)
					switch {
					case c.refused == "" && err != nil:
						t.Errorf("%s: %v", how, err)
					case c.refused != "" && (p == nil || p.Status != 400 || p.Field != "version" || !strings.Contains(p.Detail, c.refused)):
						t.Errorf("%s: got %+v, %v; want %q", how, p, err, c.refused)
					case c.refused != "" && (!strings.Contains(p.Hint, "ops-meta releases sign demo "+c.version+" --sign KEYFILE") || !strings.HasSuffix(p.Hint, "; --force deploys it all the same")):
						t.Errorf("%s: hint %q", how, p.Hint)
					case c.refused != "" && strings.HasPrefix(p.Hint, "find out who signed it with "+later.Public().ID()) != (c.version == "3.0"):
						t.Errorf("%s: hint %q, of a release that another key has signed", how, p.Hint) // it may be an intruder's
					}
				}
				impact, err := r.admin.RolloutImpact(t.Context(), n)
				if err != nil || impact.Unsigned != c.warned || strings.Contains(impact.Warning, "ops-meta releases sign demo "+c.version) != (c.warned > 0) {
					t.Errorf("%+v, %v", impact, err)
				}
			})
		}
		n := api.NewRollout{Agent: "demo", Version: "1.0", Scope: strict, Draft: true, Force: true}
		if _, err := r.admin.TryRollout(t.Context(), n); err != nil {
			t.Errorf("forced: %v", err)
		}
	})
}

// A list of keys reaches a host with the reply that it acts on: what is signed with a new key
// can be deployed as soon as the list names that.
func TestAKeyThatTheNextReplyBringsCounts(t *testing.T) {
	r, root, old, next := start(t, newConfig(t)), privateKey(t), newKey(t), newKey(t)
	own, err := r.admin.MakeServerKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.signs(t, next, r.publish(t, "demo", "1.0"))
	heard := verifying("hears-lists", meta.TrustRequire, "", old)
	heard.Trust.Roots = []string{root.Public().ID()}
	deaf := verifying("own-keys", meta.TrustRequire, "", old)
	r.hears(t, heard, deaf)
	r.refusesDemo(t, "hears-lists", true)
	publish := func(epoch int64, end time.Time) {
		t.Helper()
		l := trust.KeyList{Epoch: epoch, Issued: time.Now(), Keys: []trust.Key{serverKey(t, own.KeyID), {Key: next.Public(), Use: trust.UseRelease, NotAfter: end}}}
		if _, err := publishList(t, r.admin, root, l); err != nil {
			t.Fatal(err)
		}
	}
	publish(1, time.Time{})
	r.refusesDemo(t, "hears-lists", false)
	r.refusesDemo(t, "own-keys", true)
	publish(2, time.Now().Add(-time.Hour))
	r.refusesDemo(t, "hears-lists", true)
}

func (r *running) refusesDemo(t testing.TB, host string, want bool) {
	t.Helper()
	_, err := r.admin.TryRollout(t.Context(), api.NewRollout{Agent: "demo", Version: "1.0", Scope: api.Scope{Kind: api.ScopeHost, Name: host}})
	if refused := problem(err) != nil; refused != want {
		t.Errorf("%s: %v", host, err)
	}
}
