package backend

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/keyring"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// A signature is verified as long as the list of keys has its key.
func TestVerdictOnASignatureFollowsTheListOfKeys(t *testing.T) {
	var keys [2]trust.PrivateKey
	for i := range keys {
		key, err := trust.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	root, key := keys[0], keys[1]
	content := []byte("a tarball")
	a := api.Artifact{
		Agent: "demo", Version: "1.0", Arch: "linux_amd64", Blake2b: hex.EncodeToString(trust.DigestOf(content).Sum(nil)),
		Signature: string(key.Sign(content, trust.Release("demo", "1.0", "linux_amd64"))), SignedBy: key.Public().ID(),
	}
	c := &core{}
	c.ring.Store(&keyring.Ring{})
	if c.withVerdict(a).Verified {
		t.Error("verified without a list of keys")
	}
	list := trust.KeyList{Epoch: 1, Keys: []trust.Key{{Key: key.Public(), Use: trust.UseRelease}}}
	use := func() {
		t.Helper()
		signed, err := root.SignList(list)
		if err != nil {
			t.Fatal(err)
		}
		c.ring.Store(&keyring.Ring{List: &signed})
	}
	if use(); !c.withVerdict(a).Verified {
		t.Error("not verified with the key in the list")
	}
	other := a
	other.Blake2b = hex.EncodeToString(trust.DigestOf([]byte("another")).Sum(nil))
	if c.withVerdict(other).Verified {
		t.Error("a signature of other bytes is verified")
	}
	list.Keys[0].NotAfter = time.Now().Add(-time.Minute)
	if use(); c.withVerdict(a).Verified {
		t.Error("verified by a key that is past its end")
	}
}
