package server_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/pgtest"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// newReplicas are two servers on one database.
func newReplicas(t *testing.T) [2]*running {
	t.Helper()
	conf := newConfig(t)
	conf.DB = pgtest.NewSchema(t)
	one := start(t, conf)
	conf.Data = t.TempDir()
	two := start(t, conf)
	two.admin, two.token = two.as(t, one.token), one.token
	return [2]*running{one, two}
}

// Hosts that two servers answer in turn see no serial go back, no epoch and no unknown key,
// whichever of the two is told something new and whichever answers first afterwards.
func TestHostsThatTwoReplicasAnswerInTurnBelieveBoth(t *testing.T) {
	both, root := newReplicas(t), privateKey(t)
	own, err := both[0].admin.MakeServerKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publishKeys(t, both[1].admin, root, 1, own.KeyID); err != nil {
		t.Fatal(err)
	}
	within(t, func() bool { // until then a host that has heard of nothing yet has no key
		keys, err := both[0].admin.Keys(t.Context())
		return err == nil && keys.Epoch == 1
	})
	const hosts, changes = 8, 60
	var over atomic.Bool
	var group sync.WaitGroup
	believers := make([]*believer, hosts)
	for i := range believers {
		believers[i] = newBeliever(fmt.Sprintf("host-%d", i))
		believers[i].anchors.Roots = trust.Keys{root.Public()}
		group.Go(func() {
			for turn := i; !over.Load() && !t.Failed(); turn++ {
				if _, err := believers[i].beats(t, both[turn%2]); err != nil {
					t.Errorf("%s, beat %d: %v", believers[i].beat.Hostname, turn, err)
				}
			}
		})
	}
	t.Cleanup(func() { over.Store(true); group.Wait() })
	for n := range changes {
		changeWanted(t, both[n/2%2].admin, root, n)
	}
	over.Store(true)
	group.Wait()
	for _, b := range believers {
		for turn := range 2 {
			within(t, func() bool { // a server hears of the last change a moment later
				b.tag = ""
				if _, err := b.beats(t, both[turn]); err != nil {
					t.Fatalf("%s: %v", b.beat.Hostname, err)
				}
				return b.heard.Epoch == 1+changes/10
			})
		}
	}
}

// changeWanted makes the n-th change: every tenth has another key sign, in another epoch.
func changeWanted(t *testing.T, c *api.Client, root trust.PrivateKey, n int) {
	t.Helper()
	if n%10 != 9 {
		if _, err := c.PutGroup(t.Context(), api.Group{Name: "g" + strconv.Itoa(n), Selector: api.Selector{Prefixes: []string{"x"}}}); err != nil {
			t.Fatal(err)
		}
		return
	}
	next, err := c.MakeServerKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publishKeys(t, c, root, int64(2+n/10), next.KeyID); err != nil {
		t.Fatal(err)
	}
}
