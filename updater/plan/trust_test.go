package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/plan"
)

var (
	srv      = plan.Place{WorkDir: "/srv", RunUser: "root"}
	required = plan.Trust{Releases: meta.TrustRequire, Keys: []string{"K1"}}
)

// vouched is an agent that is wanted at version want, has there, and of which the
// journal knows the verifications.
func vouched(there, want, state string, known ...plan.Verification) plan.Situation {
	for i := range known {
		known[i].WorkDir = srv.WorkDir
	}
	return plan.Situation{
		Name: "falcon", At: srv, Trust: required, Now: time.Unix(1_000_000, 0),
		Wish: plan.Wish{Listed: true, Place: srv, Agent: meta.DesiredAgent{Name: "falcon", Version: want, Cmd: meta.CmdStart, Tarball: "http://x"}},
		Seen: plan.Observation{Version: there, Complete: true, Versions: []string{"0.9.0", "1.0.0"}, Status: status.Status{Word: state}},
		Journal: plan.Record{
			Name: "falcon", At: srv, Previous: "0.9.0", Verified: known,
			Last: plan.Outcome{Phase: meta.PhaseIdle, Version: there},
		},
	}
}

func TestWhatNobodyVouchedForIsNotStarted(t *testing.T) {
	good := plan.Verification{Version: "1.0.0", Key: "K1"}
	goodOld := plan.Verification{Version: "0.9.0", Key: "K1"}
	retired := plan.Verification{Version: "1.0.0", Key: "K0"}
	warned := plan.Verification{Version: "1.0.0", Code: plan.CodeOtherSubject, Why: "it is a good signature of something else"}
	back := func(s plan.Situation) plan.Situation {
		s.Hold = &plan.Hold{Reason: "by hand", Version: "0.9.0", Against: "1.0.0"}
		return s
	}
	with := func(s plan.Situation, change func(*plan.Situation)) plan.Situation { change(&s); return s }
	cases := []struct {
		name  string
		s     plan.Situation
		act   plan.Act
		says  string // of the step
		phase meta.Phase
		code  string // that is reported
	}{
		{"verified and crashed", vouched("1.0.0", "1.0.0", meta.StatusStopped, good), plan.ActStart, "start is wanted", meta.PhaseIdle, ""},
		{"by a key that no longer counts, and crashed", vouched("1.0.0", "1.0.0", meta.StatusStopped, retired), plan.ActStart, "start is wanted", meta.PhaseIdle, ""},
		{"never verified, runs on", vouched("1.0.0", "1.0.0", meta.StatusStarted), plan.ActNone, "as wanted", meta.PhaseIdle, plan.CodeUnsigned},
		{"never verified, and crashed", vouched("1.0.0", "1.0.0", meta.StatusStopped), plan.ActInstall, "verified before it is started", meta.PhaseDownloading, ""},
		{"installed with a warning, and crashed", vouched("1.0.0", "1.0.0", meta.StatusStopped, warned), plan.ActInstall, "something else", meta.PhaseDownloading, ""},
		{"only warned of, and crashed", with(vouched("1.0.0", "1.0.0", meta.StatusStopped, warned), func(s *plan.Situation) { s.Trust.Releases = meta.TrustWarn }), plan.ActStart, "", meta.PhaseIdle, plan.CodeOtherSubject},
		{"nothing is verified, and crashed", with(vouched("1.0.0", "1.0.0", meta.StatusStopped), func(s *plan.Situation) { s.Trust = plan.Trust{} }), plan.ActStart, "", meta.PhaseIdle, ""},
		{"crashed before the server has answered", with(vouched("1.0.0", "1.0.0", meta.StatusStopped), func(s *plan.Situation) { s.Stored = true }), plan.ActNone, "not started: 1.0.0 was installed without being verified", meta.PhaseFailed, plan.CodeUnsigned},
		{"crashed while held", with(vouched("1.0.0", "1.0.0", meta.StatusStopped), func(s *plan.Situation) { s.Hold = &plan.Hold{Reason: "x"} }), plan.ActNone, "not started", meta.PhaseHeld, plan.CodeUnsigned},
		{"an operator goes back to a verified one", back(vouched("1.0.0", "1.0.0", meta.StatusStarted, good, goodOld)), plan.ActRollback, "", meta.PhaseDownloading, ""},
		{"an operator goes back to one that was not", back(vouched("1.0.0", "1.0.0", meta.StatusStarted, good)), plan.ActNone, "nobody goes back: 0.9.0 was installed without", meta.PhaseHeld, plan.CodeUnsigned},
		{"an operator goes back, by a key that no longer counts", back(vouched("1.0.0", "1.0.0", meta.StatusStarted, good, plan.Verification{Version: "0.9.0", Key: "K0"})), plan.ActNone, "key K0, which does not count", meta.PhaseHeld, plan.CodeUnknownKey},
		{"an operator goes back to what was not, and it crashed", back(vouched("1.0.0", "1.0.0", meta.StatusStopped, good)), plan.ActStart, "nobody goes back", meta.PhaseHeld, ""},
		{"an upgrade is downloaded whatever runs", vouched("1.0.0", "1.1.0", meta.StatusStarted), plan.ActUpgrade, "", meta.PhaseDownloading, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			step := plan.Next(c.s)
			state := c.s.State(step)
			if step.Act != c.act || !strings.Contains(step.Reason, c.says) {
				t.Errorf("%s: %s; want %s: %s", step.Act, step.Reason, c.act, c.says)
			}
			if state.Phase != c.phase || state.Reason != c.code {
				t.Errorf("reported %s with %q (%s); want %s with %q", state.Phase, state.Reason, state.Error, c.phase, c.code)
			}
			if (state.Reason != "") != (state.Error != "") {
				t.Errorf("code %q, words %q", state.Reason, state.Error)
			}
		})
	}
}

// What nobody vouched for is backed off, not in quarantine, until a key, a mode or the wish
// is another.
func TestWhatCouldNotBeVerifiedIsTriedAgainWithOtherKeys(t *testing.T) {
	s := vouched("1.0.0", "1.1.0", meta.StatusStarted, plan.Verification{Version: "1.0.0", Key: "K1"})
	key := s.Journal.SignatureKey(s.Wish, s.Trust)
	s.Journal.AddFailure(plan.Fault{Key: key, Version: "1.1.0", Reason: "it has no signature", Code: plan.CodeUnsigned}, s.Now)
	s.Journal.Last = plan.Outcome{Phase: meta.PhaseFailed, Version: "1.1.0", Key: key, Error: "it has no signature", Code: plan.CodeUnsigned}
	step := plan.Next(s)
	if wait := step.Until.Sub(s.Now); step.Act != plan.ActWait || wait <= 0 || wait > time.Minute || step.Block.Quarantine {
		t.Fatalf("%+v", step)
	}
	if state := s.State(step); state.Phase != meta.PhaseFailed || state.Reason != plan.CodeUnsigned || !strings.Contains(state.Error, "backed off") {
		t.Errorf("reported %s %q %q", state.Phase, state.Reason, state.Error)
	}
	for name, change := range map[string]func(*plan.Situation){
		"time":        func(s *plan.Situation) { s.Now = step.Until },
		"another key": func(s *plan.Situation) { s.Trust.Keys = []string{"K1", "K2"} },
		"a mode":      func(s *plan.Situation) { s.Trust.Releases = meta.TrustWarn },
		"the address": func(s *plan.Situation) { s.Wish.Agent.Tarball = "http://y" },
		"the digest":  func(s *plan.Situation) { s.Wish.Agent.SHA256 = strings.Repeat("0", 64) },
	} {
		other := s
		change(&other)
		if got := plan.Next(other); got.Act != plan.ActUpgrade {
			t.Errorf("with %s changed: %s: %s", name, got.Act, got.Reason)
		}
	}
	// While it waits, what is there and was verified is started again; what was not is not.
	s.Seen.Status.Word = meta.StatusStopped
	if got := plan.Next(s); got.Act != plan.ActStart {
		t.Errorf("%s: %s", got.Act, got.Reason)
	}
	s.Journal.Verified = nil
	got := plan.Next(s)
	if state := s.State(got); got.Act != plan.ActWait || state.Reason != plan.CodeUnsigned || !strings.Contains(state.Error, "1.0.0 was installed without being verified") {
		t.Errorf("%s: %s; reported %q", got.Act, got.Reason, state.Error)
	}

	r := plan.Record{}
	r.AddFailure(plan.Fault{Key: "md5:x"}, s.Now)
	r.AddFailure(plan.Fault{Key: r.SignatureKey(s.Wish, required)}, s.Now)
	r.AddFailure(plan.Fault{Key: r.SignatureKey(s.Wish, plan.Trust{Releases: meta.TrustRequire})}, s.Now)
	if len(r.Blocks) != 2 {
		t.Errorf("what failed with other keys is still known: %+v", r.Blocks)
	}
}

func TestVerificationsAreOfOneVersionInOnePlace(t *testing.T) {
	r := plan.Record{}
	at := func(dir, version string) plan.Target {
		return plan.Target{Place: plan.Place{WorkDir: dir}, Version: version}
	}
	r.NoteVerified(plan.Verification{WorkDir: "/a", Version: "1", Key: "K1"})
	r.NoteVerified(plan.Verification{WorkDir: "/a", Version: "2", Key: "K1"})
	r.NoteVerified(plan.Verification{WorkDir: "/b", Version: "1", Key: "K2"})
	r.NoteVerified(plan.Verification{WorkDir: "/a", Version: "2", Code: "unsigned"})
	shared := r
	if len(r.Verified) != 3 || r.VerificationOf(at("/a", "2")).Key != "" || r.VerificationOf(at("/b", "2")) != (plan.Verification{}) {
		t.Errorf("%+v", r.Verified)
	}
	r.KeepVerified("/a", []string{"2"})
	if r.VerificationOf(at("/a", "1")).Key != "" || r.VerificationOf(at("/b", "1")).Key != "K2" {
		t.Errorf("%+v", r.Verified)
	}
	r.ForgetVerified(at("/b", "1"))
	if len(r.Verified) != 1 || len(shared.Verified) != 3 || shared.VerificationOf(at("/b", "1")).Key != "K2" {
		t.Errorf("%+v; a copy: %+v", r.Verified, shared.Verified)
	}
	for i := range 1000 {
		r.NoteVerified(plan.Verification{WorkDir: "/c", Version: strings.Repeat("x", i)})
	}
	if len(r.Verified) > 64 {
		t.Errorf("%d are kept", len(r.Verified))
	}
}
