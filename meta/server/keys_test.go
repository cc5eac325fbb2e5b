package server_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// believer is a host that verifies replies, as the sidecar does.
type believer struct {
	anchors trust.Anchors
	heard   trust.Heard
	beat    meta.HeartbeatRequest
	tag     string
}

func (b *believer) report() *meta.TrustReport {
	counting := b.heard.Counting(b.anchors)
	return &meta.TrustReport{
		Releases: meta.TrustRequire, Configs: meta.TrustRequire, Desired: meta.TrustRequire, Epoch: b.heard.Epoch,
		Keys: counting.Keys(trust.UseRelease, time.Now()).IDs(), Servers: counting.Keys(trust.UseServer, time.Now()).IDs(), Roots: b.anchors.Roots.IDs(),
	}
}

// beats sends a heartbeat, and believes the reply or says why not.
func (b *believer) beats(t *testing.T, r *running) (meta.HeartbeatResponse, error) {
	t.Helper()
	b.beat.Trust = b.report()
	body, err := json.Marshal(b.beat)
	if err != nil {
		t.Fatal(err)
	}
	a := r.raw(t, http.MethodPost, meta.PathV1, body, "If-None-Match", b.tag)
	if a.StatusCode == http.StatusNotModified {
		return meta.HeartbeatResponse{}, nil
	}
	resp, _, err := meta.DecodeReply(a.body)
	if err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	said := trust.Statement{Host: resp.Host, Epoch: resp.Epoch, Serial: resp.Serial, List: resp.KeyList, Expires: time.Unix(resp.Expires, 0)}
	b.heard, err = b.heard.Judge(b.anchors, a.body, a.Header.Get(trust.ReplyHeader), said, b.beat.Hostname, time.Now())
	if err == nil {
		b.tag, b.beat.SerialMark = a.Header.Get("Etag"), resp.SerialMark
	}
	return resp, err
}

func newBeliever(name string) *believer {
	return &believer{beat: meta.HeartbeatRequest{Hostname: name, IP: "192.0.2.1", Arch: "linux_amd64", Protocol: meta.Protocol, RealAgents: []meta.RealAgent{}}}
}

func privateKey(t testing.TB) trust.PrivateKey {
	t.Helper()
	k, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// publishKeys signs a list of the server's keys and gives it to the server.
func publishKeys(t testing.TB, c *api.Client, root trust.PrivateKey, epoch int64, ids ...api.KeyID) (api.KeyReport, error) {
	t.Helper()
	l := trust.KeyList{Epoch: epoch, Issued: time.Now()}
	for _, id := range ids {
		l.Keys = append(l.Keys, serverKey(t, id))
	}
	return publishList(t, c, root, l)
}

func serverKey(t testing.TB, id api.KeyID) trust.Key {
	t.Helper()
	k, err := trust.ParsePublicKey(id.Key)
	if err != nil {
		t.Fatal(err)
	}
	return trust.Key{Key: k, Use: trust.UseServer}
}

func publishList(t testing.TB, c *api.Client, root trust.PrivateKey, l trust.KeyList) (api.KeyReport, error) {
	t.Helper()
	signed, err := root.SignList(l)
	if err != nil {
		t.Fatal(err)
	}
	return c.PublishKeyList(t.Context(), api.PublishKeyList{List: signed, Root: root.Public().String()})
}

func TestHostsBelieveTheirServerOverRestartsAndKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		r := start(t, conf)
		root := privateKey(t)
		plain, byList, byKey := newBeliever("plain"), newBeliever("by-list"), newBeliever("by-key")
		byList.anchors.Roots = trust.Keys{root.Public()}
		if _, err := plain.beats(t, r); trust.CodeOf(err) != trust.Unsigned {
			t.Fatalf("a server without a key: %v", err)
		}
		first, err := r.admin.MakeServerKey(t.Context())
		if err != nil || !first.Signs {
			t.Fatalf("%+v, %v", first, err)
		}
		key, _ := trust.ParsePublicKey(first.Key)
		byKey.anchors.Servers = trust.Keys{key}
		if _, err := publishKeys(t, r.admin, root, 1, first.KeyID); err != nil {
			t.Fatal(err)
		}
		for _, b := range []*believer{byList, byKey} {
			if _, err := b.beats(t, r); err != nil {
				t.Errorf("%s: %v", b.beat.Hostname, err)
			}
		}
		if byList.heard.Epoch != 1 || byKey.heard.Epoch != 0 {
			t.Errorf("epochs %d, %d", byList.heard.Epoch, byKey.heard.Epoch)
		}
		if _, err := r.admin.MakeServerKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = start(t, conf)
		for _, b := range []*believer{byList, byKey} {
			if _, err := b.beats(t, r); err != nil {
				t.Errorf("after a restart %s: %v", b.beat.Hostname, err)
			}
		}
		second, err := r.admin.MakeServerKey(t.Context())
		if err != nil || second.Signs || second.ID == first.ID {
			t.Fatalf("the key that waited is lost: %+v, %v", second, err)
		}
		if _, err := r.admin.RotateServerKey(t.Context()); err == nil {
			t.Error("a key that the list does not name took the place")
		}
		report, err := publishKeys(t, r.admin, root, 2, second.KeyID)
		if err != nil || len(report.Own) != 1 || !report.Own[0].Signs {
			t.Fatalf("%+v, %v", report, err)
		}
		if _, err := byList.beats(t, r); err != nil || byList.heard.Epoch != 2 {
			t.Errorf("the new key: epoch %d, %v", byList.heard.Epoch, err)
		}
		if _, err := byKey.beats(t, r); trust.CodeOf(err) != trust.UnknownKey {
			t.Errorf("a host that goes by the old key: %v", err)
		}
		if _, err := publishKeys(t, r.admin, root, 2, first.KeyID, second.KeyID); err == nil {
			t.Error("another list of the same epoch was taken")
		}
		if report.Hosts.Epochs["1"] != 1 || report.Hosts.Epochs["0"] != 2 {
			t.Errorf("%+v", report.Hosts)
		}
	})
}

func TestOnlyAdminsChangeKeysAndNobodyReadsThem(t *testing.T) {
	r := start(t, newConfig(t))
	operator := r.as(t, r.newToken(t, "op", api.RoleOperator, 0).Secret)
	viewer := r.as(t, r.newToken(t, "see", api.RoleViewer, 0).Secret)
	if _, err := operator.MakeServerKey(t.Context()); err == nil {
		t.Error("an operator made a key")
	}
	made, err := r.admin.MakeServerKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := operator.DeleteKey(t.Context(), made.ID); err == nil {
		t.Error("an operator removed a key")
	}
	if report, err := viewer.Keys(t.Context()); err != nil || len(report.Own) != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	for _, path := range []string{"/api/v1/keys", "/api/v1/audit"} {
		a := r.raw(t, http.MethodGet, path, nil, "Authorization", "Bearer "+r.token)
		if !strings.Contains(string(a.body), made.ID) || strings.Contains(string(a.body), "private") || strings.Contains(string(a.body), "secret key") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	if err := r.admin.DeleteKey(t.Context(), made.ID); err == nil {
		t.Error("the key that signs was removed")
	}
}

// A restored backup is of a lower serial than hosts were told. Who has no root key has
// no epoch to begin anew in, so the server must come to a higher serial by itself.
func TestARestoredServerIsBelieved(t *testing.T) {
	conf := newConfig(t)
	r := start(t, conf)
	made, err := r.admin.MakeServerKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, _ := trust.ParsePublicKey(made.Key)
	var archive bytes.Buffer
	if err := r.admin.Backup(t.Context(), &archive); err != nil {
		t.Fatal(err)
	}
	b := newBeliever("host")
	b.anchors.Servers = trust.Keys{key}
	for i := range 20 { // writes that the backup does not have
		if _, err := r.admin.PutGroup(t.Context(), api.Group{Name: "g" + strconv.Itoa(i), Selector: api.Selector{Prefixes: []string{"x"}}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.beats(t, r); err != nil {
		t.Fatal(err)
	}
	told := b.heard.Serial
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	again := newConfig(t)
	if _, err := server.Restore(t.Context(), again, &archive); err != nil {
		t.Fatal(err)
	}
	r = start(t, again)
	if _, err := b.beats(t, r); err != nil { // nothing has changed for it
		t.Error(err)
	}
	b.tag = "" // as after its restart
	resp, err := b.beats(t, r)
	if err != nil || resp.Serial <= told {
		t.Errorf("serial %d after %d: %v", resp.Serial, told, err)
	}
	if _, err := newBeliever("forged").beats(t, r); trust.CodeOf(err) != trust.NoKeys {
		t.Errorf("%v", err)
	}
}
