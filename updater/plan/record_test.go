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
	upgraded := plan.Target{Place: here, Version: "2"}
	now := time.Now()
	for _, c := range []struct {
		name   string
		before plan.Record
		undone bool
	}{
		{"at rest", plan.Record{At: here}, false},
		{"in a download", plan.Record{At: here, Txn: &plan.Txn{Act: plan.ActUpgrade, From: from, To: upgraded, Phase: meta.PhaseDownloading}}, false},
		{"in an upgrade", plan.Record{At: here, Txn: &plan.Txn{Act: plan.ActUpgrade, From: from, To: upgraded, Phase: meta.PhaseStopping}}, true},
		{"in a way back", plan.Record{At: here, Txn: &plan.Txn{Act: plan.ActUpgrade, From: from, To: upgraded, Phase: meta.PhaseRollingBack}}, true},
		{"in a first install", plan.Record{At: here, Txn: &plan.Txn{Act: plan.ActInstall, To: upgraded, Phase: meta.PhaseStarting}}, true},
		{"in a change of config", plan.Record{At: here, Txn: &plan.Txn{Act: plan.ActConfig, From: from, To: from, Phase: meta.PhaseStarting}}, false},
		{"in a move", plan.Record{At: here, Txn: &plan.Txn{Act: plan.ActMove, From: from, To: to, Phase: meta.PhaseStarting}}, true},
		{"in the download of a move", plan.Record{At: here, Txn: &plan.Txn{Act: plan.ActMove, From: from, To: to, Phase: meta.PhaseDownloading}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := plan.Record{Name: "falcon"}.FoundBy(c.before.Whereabouts(), now)
			if found.At != here {
				t.Errorf("it is at %+v", found.At)
			}
			if (found.Txn != nil) != c.undone {
				t.Fatalf("transaction %+v", found.Txn)
			}
			if tx := found.Txn; tx != nil && (tx.Phase != meta.PhaseRollingBack || tx.Act != c.before.Txn.Act || tx.From != c.before.Txn.From || tx.To != c.before.Txn.To || tx.Failure == "" || tx.Code != plan.CodeJournalLost) {
				t.Errorf("transaction %+v", tx)
			}
		})
	}
}
