package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

// What this host does not follow of a wish is said with the rule that refuses it and with what
// a person can do, also behind a hold and while nothing is tried.
func TestRefusalsNameTheRuleAndTheNextStep(t *testing.T) {
	good := plan.Verification{Version: "1.0.0", Key: "K1"}
	upgrade := func() plan.Situation { return vouched("1.0.0", "1.1.0", meta.StatusStarted, good) }
	with := func(s plan.Situation, changes ...func(*plan.Situation)) plan.Situation {
		for _, change := range changes {
			change(&s)
		}
		return s
	}
	unverified := func(code string) func(*plan.Situation) {
		return func(s *plan.Situation) {
			fault := plan.Fault{Key: s.Journal.SignatureKey(s.Wish, s.Trust), Version: "1.1.0", Reason: "cannot verify falcon", Code: code}
			s.Journal.AddFailure(fault, s.Now.Add(-time.Second))
		}
	}
	long := func(s *plan.Situation) { s.Now = s.Now.Add(time.Hour) }
	held := func(s *plan.Situation) { s.Hold = &plan.Hold{Reason: "ticket 4711"} }
	noDowngrade := func(s *plan.Situation) { s.Policy.NoDowngrade, s.Wish.Agent.Version = true, "0.9.0" }
	configured := func(s *plan.Situation) {
		s.Wish.Agent.ConfigFileName, s.Wish.Agent.ConfigRemoteURL = "cfg.json", "http://x/cfg.json"
	}
	type want struct{ code, why, next string }
	cases := map[string]struct {
		s    plan.Situation
		want []want
	}{
		"as wanted":                          {vouched("1.0.0", "1.0.0", meta.StatusStarted, good), nil},
		"an upgrade that nothing is against": {upgrade(), nil},
		"not signed":                         {with(upgrade(), unverified(plan.CodeUnsigned)), []want{{plan.CodeUnsigned, "cannot verify falcon", "sign it: ops-meta releases sign falcon 1.1.0"}}},
		"not signed, and tried again now":    {with(upgrade(), unverified(plan.CodeUnsigned), long), []want{{plan.CodeUnsigned, "cannot verify falcon", "sign it"}}},
		"not signed, with a configuration": {with(upgrade(), configured, unverified(plan.CodeUnsigned)), []want{
			{plan.CodeUnsigned, "cannot verify falcon", "its configuration: ops-meta sign FILE --config cfg.json --agent falcon"},
		}},
		"of a key that does not count": {with(upgrade(), unverified(plan.CodeUnknownKey)), []want{{plan.CodeUnknownKey, "", "find out who signed it"}}},
		"no key counts":                {with(upgrade(), unverified(plan.CodeNoKeys)), []want{{plan.CodeNoKeys, "", "has to name a release key"}}},
		"of other bytes":               {with(upgrade(), unverified(plan.CodeBadSignature)), []want{{plan.CodeBadSignature, "", "find out who changed it"}}},
		"by keys that counted then":    {with(upgrade(), unverified(plan.CodeUnknownKey), func(s *plan.Situation) { s.Trust.Keys = []string{"K1", "K2"} }), nil},
		"held, and not signed":         {with(upgrade(), unverified(plan.CodeUnsigned), held), []want{{"", "held: ticket 4711", "ops-updater unhold falcon"}, {plan.CodeUnsigned, "", "sign it"}}},
		"a downgrade":                  {with(upgrade(), noDowngrade), []want{{plan.CodePolicy, "policy.downgrade", "change policy in cfg.json"}}},
		"a downgrade, held":            {with(upgrade(), noDowngrade, held), []want{{"", "held", "unhold"}, {plan.CodePolicy, "policy.downgrade", ""}}},
		"outside of windows": {with(upgrade(), func(s *plan.Situation) {
			s.Policy.Windows = []plan.Window{{Days: [7]bool{time.Sunday: true}, To: time.Hour, Zone: time.UTC}}
		}), []want{{plan.CodeWindow, "policy.windows", ""}}},
		"in quarantine": {with(upgrade(), func(s *plan.Situation) {
			s.Journal.AddFailure(plan.Fault{Key: s.Journal.ReleaseKey(s.Wish), Version: "1.1.0", Reason: "it died", Code: plan.CodeProbation, Release: true}, s.Now)
		}), []want{{plan.CodeProbation, "1.1.0 is in quarantine after one failure: it died", "ops-updater clear falcon"}}},
		"breaks the contract": {with(upgrade(), func(s *plan.Situation) { s.Wish.Refused = "workDir is not clean" }), []want{{plan.CodeRefused, "workDir is not clean", "ops-meta"}}},
		"another sidecar's":   {with(upgrade(), func(s *plan.Situation) { s.Seen.OwnedBy = "pid 7" }), []want{{plan.CodeOwned, "pid 7 looks after it", "end that sidecar"}}},
		"runs unverified":     {vouched("1.0.0", "1.0.0", meta.StatusStarted), []want{{plan.CodeUnsigned, "would not be started again", "deploy a release of falcon that is signed"}}},
		"runs unverified, with a warning": {with(vouched("1.0.0", "1.0.0", meta.StatusStarted), func(s *plan.Situation) { s.Trust.Releases = meta.TrustWarn }), []want{
			{plan.CodeUnsigned, "installed without being verified", "before trust.releases is require"},
		}},
		"a configuration that changed": {with(vouched("1.0.0", "1.0.0", meta.StatusStarted, good), configured, func(s *plan.Situation) {
			s.Journal.Last.Error, s.Journal.Last.Code = "cannot refresh cfg.json", plan.CodeUnsigned
		}), []want{{plan.CodeUnsigned, "cannot refresh cfg.json", "ops-meta sign FILE --config cfg.json --agent falcon"}}},
		"cannot be seen": {with(upgrade(), func(s *plan.Situation) { s.Blind, s.Code = "others can change it", "unsafe-place" }), []want{{"unsafe-place", "others can change it", ""}}},
		"crashed, and not verified": {with(vouched("1.0.0", "1.0.0", meta.StatusStopped), func(s *plan.Situation) {
			s.Seen.Status = status.Status{Word: meta.StatusStopped}
			s.Wish.Agent.Version = "1.0.0"
		}), []want{{plan.CodeUnsigned, "installed without being verified", "deploy a release"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := c.s.Account(plan.Next(c.s)).Refusals
			if len(got) != len(c.want) {
				t.Fatalf("got %+v; want %+v", got, c.want)
			}
			for i, w := range c.want {
				if got[i].Code != w.code || !strings.Contains(got[i].Why, w.why) || !strings.Contains(got[i].Next, w.next) {
					t.Errorf("got %+v; want %+v", got[i], w)
				}
			}
		})
	}
	if a := with(upgrade(), held).Account(plan.Step{}); a.Verified != "K1" || a.Seen.Version != "1.0.0" {
		t.Errorf("%+v", a)
	}
}
