package plan_test

import (
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

func TestWhereaboutsOutliveTheRecord(t *testing.T) {
	here, there := plan.Place{WorkDir: "/a", RunUser: "root"}, plan.Place{WorkDir: "/b", RunUser: "root"}
	from, to := plan.Target{Place: here, Version: "1"}, plan.Target{Place: there, Version: "2"}
	now := time.Now()
	for _, c := range []struct {
		name   string
		before plan.Record
		phase  meta.Phase // of what is resumed; empty: nothing
	}{
		{"at rest", plan.Record{At: here}, ""},
		{"in an upgrade", plan.Record{At: here, Txn: &plan.Txn{From: from, To: plan.Target{Place: here, Version: "2"}, Phase: meta.PhaseStarting}}, ""},
		{"in a first install", plan.Record{At: here, Txn: &plan.Txn{To: to, Phase: meta.PhaseStarting}}, ""},
		{"in a move", plan.Record{At: here, Txn: &plan.Txn{From: from, To: to, Phase: meta.PhaseStarting}}, meta.PhaseRollingBack},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := plan.Record{Name: "falcon"}.FoundBy(c.before.Whereabouts(), now)
			if found.At != here {
				t.Errorf("it is at %+v", found.At)
			}
			if (found.Txn != nil) != (c.phase != "") {
				t.Fatalf("transaction %+v", found.Txn)
			}
			if tx := found.Txn; tx != nil && (tx.Phase != c.phase || tx.From != from || tx.To != to || tx.Failure == "" || tx.Code != plan.CodeInterrupted) {
				t.Errorf("transaction %+v", tx)
			}
		})
	}
}
