package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/trust"
)

func newKey(t testing.TB) trust.PrivateKey {
	t.Helper()
	k, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signer is a fleet whose replies are signed, of an epoch that a root key began.
type signer struct {
	*fleet.Fleet
	key, root trust.PrivateKey
	list      trust.SignedList
	cfg       fleet.Config
}

const lifetime = time.Hour

func newSigner(t testing.TB) *signer {
	t.Helper()
	s := &signer{key: newKey(t), root: newKey(t)}
	var err error
	s.list, err = s.root.SignList(trust.KeyList{Epoch: 3, Issued: time.Now(), Keys: []trust.Key{{Key: s.key.Public(), Use: trust.UseServer}}})
	if err != nil {
		t.Fatal(err)
	}
	w := wanted()
	w.Assignments = []api.Assignment{assign("falcon", everyone, "1.0")}
	s.cfg = fleet.Config{Wanted: w, PublicURL: base, Signing: fleet.Signing{Key: &s.key, Epoch: 3, List: &s.list, Root: s.root.Public().ID(), Lifetime: lifetime}}
	s.Fleet = fleet.New(fleet.Options{})
	s.UseSnapshot(fleet.Compile(s.cfg, time.Now()))
	return s
}

func (s *signer) reports(host string, trusts *meta.TrustReport) *meta.HeartbeatRequest {
	r := report(host, running("falcon", "1.0"))
	r.Protocol, r.Trust = meta.Protocol, trusts
	return r
}

// judge has a host with these keys judge a reply.
func judge(t *testing.T, heard trust.Heard, a trust.Anchors, r *fleet.Reply) (trust.Heard, error) {
	t.Helper()
	body, header := r.Personal(time.Now())
	resp, rejected, err := meta.DecodeReply(body)
	if err != nil || len(rejected) > 0 || len(resp.DesiredAgents) != 1 {
		t.Fatalf("%s: %v, %v", body, err, rejected)
	}
	said := trust.Statement{Host: resp.Host, Epoch: resp.Epoch, Serial: resp.Serial, Expires: time.Unix(resp.Expires, 0), List: resp.KeyList}
	return heard.Judge(a, body, header, said, "web-01", time.Now())
}

func TestWhoVerifiesRepliesGetsThemSigned(t *testing.T) {
	s := newSigner(t)
	root := []string{s.root.Public().ID()}
	for name, c := range map[string]struct {
		trust            *meta.TrustReport
		dialect          meta.Dialect
		personal, signed bool
		list             bool
	}{
		"says nothing":                 {nil, meta.DialectV1, false, false, false},
		"verifies releases":            {&meta.TrustReport{Releases: meta.TrustRequire, Desired: meta.TrustOff}, meta.DialectV1, false, false, false},
		"releases, by the list":        {&meta.TrustReport{Releases: meta.TrustRequire, Desired: meta.TrustOff, Roots: root}, meta.DialectV1, true, false, true},
		"releases, by this list":       {&meta.TrustReport{Releases: meta.TrustRequire, Desired: meta.TrustOff, Roots: root, Epoch: 3}, meta.DialectV1, false, false, false},
		"warns":                        {&meta.TrustReport{Desired: meta.TrustWarn}, meta.DialectV1, true, true, false},
		"requires":                     {&meta.TrustReport{Desired: meta.TrustRequire}, meta.DialectV1, true, true, false},
		"requires, by another root":    {&meta.TrustReport{Desired: meta.TrustRequire, Roots: []string{"00000000000000A1"}}, meta.DialectV1, true, true, false},
		"requires, by the list":        {&meta.TrustReport{Desired: meta.TrustRequire, Roots: root}, meta.DialectV1, true, true, true},
		"requires, by this list":       {&meta.TrustReport{Desired: meta.TrustRequire, Roots: root, Epoch: 3}, meta.DialectV1, true, true, false},
		"requires, by a later list":    {&meta.TrustReport{Desired: meta.TrustRequire, Roots: root, Epoch: 4}, meta.DialectV1, true, true, false},
		"requires, in the old dialect": {&meta.TrustReport{Desired: meta.TrustRequire}, meta.DialectLegacy, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			host := strings.ReplaceAll(name, " ", "-")
			r := beat(t, s.Fleet, c.dialect, s.reports(strings.ReplaceAll(host, ",", ""), c.trust))
			if r.IsPersonal() != c.personal {
				t.Fatalf("personal: %v", r.IsPersonal())
			}
			if !c.personal {
				return
			}
			body, header := r.Personal(time.Now())
			var got meta.HeartbeatResponse
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if (header != "") != c.signed || (got.KeyList != nil) != c.list || (r.ETag == "") != c.list {
				t.Errorf("signed %v, list %v, tag %q", header != "", got.KeyList != nil, r.ETag)
			}
			if c.signed && (got.Serial != 7 || got.Epoch != 3 || got.Host == "") || !c.signed && got.Expires != 0 {
				t.Errorf("serial %d, epoch %d, host %q, expires %d", got.Serial, got.Epoch, got.Host, got.Expires)
			}
			if !bytes.HasPrefix(body, bytes.TrimSuffix(r.Body, []byte("}\n"))) {
				t.Error("it tells the host something else than others")
			}
		})
	}
}

func TestAHostBelievesItsOwnReplyAlone(t *testing.T) {
	s := newSigner(t)
	byList := trust.Anchors{Roots: trust.Keys{s.root.Public()}}
	byKey := trust.Anchors{Servers: trust.Keys{s.key.Public()}}
	root := []string{s.root.Public().ID()}
	r := beat(t, s.Fleet, meta.DialectV1, s.reports("web-01", &meta.TrustReport{Desired: meta.TrustRequire, Roots: root}))
	heard, err := judge(t, trust.Heard{}, byList, r)
	if err != nil || heard.Epoch != 3 || heard.Serial != 7 {
		t.Fatalf("%+v, %v", heard, err)
	}
	if _, err := judge(t, trust.Heard{}, byKey, r); err != nil {
		t.Error(err)
	}
	other := beat(t, s.Fleet, meta.DialectV1, s.reports("web-02", &meta.TrustReport{Desired: meta.TrustRequire}))
	if _, err := judge(t, trust.Heard{}, byKey, other); trust.CodeOf(err) != trust.OtherHost {
		t.Errorf("another host's reply: %v", err)
	}
	s.cfg.Signing.Key = nil
	s.UseSnapshot(fleet.Compile(s.cfg, time.Now()))
	unsigned := beat(t, s.Fleet, meta.DialectV1, s.reports("web-01", &meta.TrustReport{Desired: meta.TrustRequire}))
	if unsigned.IsPersonal() {
		t.Error("a reply is signed without a key")
	}
}

// A host that gets 304 for longer than its signed reply counts would stand still.
func TestATagChangesBeforeHalfOfTheLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t)
		req := s.reports("web-01", &meta.TrustReport{Desired: meta.TrustRequire})
		tag := beat(t, s.Fleet, meta.DialectV1, req).ETag
		body, err := json.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		steadily := func() string {
			r, steady := s.Steady(t.Context(), fleet.Beat{Dialect: meta.DialectV1, Remote: "10.9.9.9", Body: body})
			if !steady || !r.IsPersonal() {
				t.Fatal("the reply to a steady heartbeat is not personal")
			}
			return r.ETag
		}
		signedAt, changes := time.Now(), 0
		for range 400 {
			time.Sleep(time.Minute)
			next := steadily()
			if next != tag {
				changes++
				signedAt, tag = time.Now(), next
			}
			if age := time.Since(signedAt); age > lifetime/2 {
				t.Fatalf("after %v the tag is still %s", age, tag)
			}
		}
		if changes < 12 || changes > 14 {
			t.Errorf("in 400 minutes the tag changed %d times, want each half hour", changes)
		}
		before := steadily()
		s.cfg.Signing.Epoch = 4
		s.UseSnapshot(fleet.Compile(s.cfg, time.Now()))
		if steadily() == before {
			t.Error("a new epoch left the tag as it was")
		}
	})
}

// What a host in doubt is told has no serial of its own; a signed reply needs one that
// the host takes.
func TestAReplyInDoubtIsBelieved(t *testing.T) {
	s := newSigner(t)
	s.Fleet = fleet.New(fleet.Options{Ahead: func(context.Context, string) (int64, bool) { return 90, true }})
	s.UseSnapshot(fleet.Compile(s.cfg, time.Now()))
	req := s.reports("web-01", &meta.TrustReport{Desired: meta.TrustRequire, Epoch: 3, Roots: []string{s.root.Public().ID()}})
	req.SerialMark = "of another server"
	heard, err := judge(t, trust.Heard{Serial: 90, Epoch: 3, List: &s.list}, trust.Anchors{Roots: trust.Keys{s.root.Public()}}, beat(t, s.Fleet, meta.DialectV1, req))
	if err != nil || heard.Serial != 90 {
		t.Errorf("%+v, %v", heard, err)
	}
}

func TestWhatAHostVerifiesIsKnown(t *testing.T) {
	s := newSigner(t)
	beat(t, s.Fleet, meta.DialectV1, s.reports("plain", nil))
	refusing := &meta.TrustReport{Releases: meta.TrustWarn, Configs: meta.TrustOff, Desired: meta.TrustOff, Refused: "it is older", Reason: "serial-back", Since: 1_700_000_000}
	beat(t, s.Fleet, meta.DialectV1, s.reports("refusing", refusing))
	strict := &meta.TrustReport{Releases: meta.TrustRequire, Configs: meta.TrustOff, Desired: meta.TrustOff}
	beat(t, s.Fleet, meta.DialectV1, s.reports("strict", strict))
	for want, names := range map[string]string{"off": "plain", "warn": "refusing", "require": "strict", api.TrustRefusing: "refusing"} {
		page, err := s.List(api.HostQuery{Trust: want})
		if err != nil || len(page.Items) != 1 || page.Items[0].Name != names {
			t.Errorf("%s: %+v, %v", want, page.Items, err)
		}
	}
	if o := s.Overview(); o.Trust["off"] != 1 || o.Trust["warn"] != 1 || o.Trust["require"] != 1 || o.Refusing != 1 || o.Problems != 1 {
		t.Errorf("%+v", o)
	}
	h, _ := s.Host("refusing")
	if h.Trust == nil || h.Trust.Reason != "serial-back" || len(h.Problems) != 1 || !strings.Contains(h.Problems[0], "serial-back") {
		t.Errorf("%+v", h)
	}
	refusing.Refused, refusing.Reason, refusing.Since = "", "", 0
	beat(t, s.Fleet, meta.DialectV1, s.reports("refusing", refusing))
	if h, _ := s.Host("refusing"); len(h.Problems) != 0 || h.Trust.Reason != "" {
		t.Errorf("%+v", h)
	}
}

// The signature is what a whole reply to a host that verifies costs more than others.
func BenchmarkReplies(b *testing.B) {
	s := newSigner(b)
	for name, trusts := range map[string]*meta.TrustReport{"shared": nil, "unchanged": {Desired: meta.TrustRequire}, "signed": {Desired: meta.TrustRequire}} {
		b.Run(name, func(b *testing.B) {
			req := s.reports(name, trusts)
			body, err := json.Marshal(req)
			if err != nil {
				b.Fatal(err)
			}
			at := fleet.Beat{Dialect: meta.DialectV1, Remote: "10.9.9.9", Body: body}
			if _, err := s.Report(b.Context(), fleet.Report{Beat: at, Request: req}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				r, steady := s.Steady(b.Context(), at)
				if !steady {
					b.Fatal("not steady")
				}
				if name == "signed" {
					r.Personal(time.Now())
				}
			}
		})
	}
}
