package updater_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
	"github.com/ops-updater/ops-updater/updater/plan"
)

func newReleaseKey(t testing.TB) trust.PrivateKey {
	t.Helper()
	k, err := trust.NewKey()
	must(t, err)
	return k
}

// sign puts k's signature beside a release that o serves.
func (o *origin) sign(t testing.TB, k trust.PrivateKey, a meta.DesiredAgent) {
	t.Helper()
	file := meta.Arch() + "/" + meta.TarballName(a.Name, a.Version)
	o.mu.Lock()
	data := o.files[file]
	o.mu.Unlock()
	o.put(file+trust.Extension, k.Sign(data, trust.Release(a.Name, a.Version, meta.Arch())))
}

// trusts makes mode what becomes of releases that none of keys has signed.
func (h *host) trusts(mode meta.TrustMode, keys ...trust.PrivateKey) {
	h.t.Helper()
	h.cfg.Trust.Releases, h.cfg.Trust.Configs, h.cfg.Trust.Anchors.Releases = mode, mode, nil
	for _, k := range keys {
		h.cfg.Trust.Anchors.Releases = append(h.cfg.Trust.Anchors.Releases, k.Public())
	}
	if h.engine != nil {
		must(h.t, h.engine.Configure(h.cfg))
	}
}

func (h *host) reports(name, code string) meta.RealAgent {
	h.t.Helper()
	return h.await(name, "was reported with "+code, func(a meta.RealAgent) bool { return a.Reason == code && a.Error != "" })
}

// telltale notes every run of any verb of a version's control script.
const telltale = "touch $agent/var-executed-$version"

func noticed(h agenttest.Habits) agenttest.Habits {
	h.BeforeStatus, h.BeforeStart, h.BeforeStop = telltale, telltale+"\n"+h.BeforeStart, telltale
	return h
}

func checkNeverExecuted(t testing.TB, dir, version string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "var-executed-"+version)); err == nil {
		t.Errorf("I4: %s was executed", version)
	}
}

func checkExecuted(t testing.TB, dir, version string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "var-executed-"+version)); err != nil {
		t.Errorf("the telltale of %s is of no use: %v", version, err)
	}
}

func TestI4AReleaseThatIsNotSignedIsRefusedAndTheOldOneRunsOn(t *testing.T) {
	t.Parallel()
	h, ours, other := newHost(t), newReleaseKey(t), newReleaseKey(t)
	h.trusts(meta.TrustRequire, ours)
	v1 := h.origin.publish(t, "falcon", "1.0.0", noticed(agenttest.Habits{}))
	h.origin.sign(t, ours, v1)
	v2 := h.origin.publish(t, "falcon", "1.0.1", noticed(agenttest.Habits{}))
	h.boot()
	h.apply(v1)
	if a := h.runs("falcon", "1.0.0"); a.Error != "" || a.Reason != "" {
		t.Errorf("a verified version is reported with %q, %q", a.Reason, a.Error)
	}

	h.apply(v2)
	a := h.await("falcon", "was refused and backed off", func(a meta.RealAgent) bool {
		return a.Reason == plan.CodeUnsigned && strings.Contains(a.Error, "backed off")
	})
	if a.Version != "1.0.0" || a.Status != meta.StatusStarted || a.Phase != meta.PhaseFailed || strings.Contains(a.Error, "quarantine") {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon", "1.0.0")
	checkNeverExecuted(t, h.agentDir("falcon"), "1.0.1")

	// Of another key: once that counts it is installed at once, without waiting for the back-off.
	h.origin.sign(t, other, v2)
	must(t, h.engine.Clear("falcon"))
	h.reports("falcon", plan.CodeUnknownKey)
	checkNeverExecuted(t, h.agentDir("falcon"), "1.0.1")
	h.trusts(meta.TrustRequire, ours, other)
	h.runs("falcon", "1.0.1")
	checkExecuted(t, h.agentDir("falcon"), "1.0.1")

	// That the key of what runs stops to count keeps nothing down that crashed, and nobody from
	// going back to what a key that counts has signed.
	h.trusts(meta.TrustRequire, ours)
	agenttest.Kill(t, h.agentDir("falcon"))
	h.await("falcon", "came up again", func(meta.RealAgent) bool {
		events := agenttest.Events(t, h.agentDir("falcon"))
		return len(events) > 0 && events[len(events)-1].What == "up" && len(agenttest.Running(t, h.agentDir("falcon"))) == 1
	})
	h.runs("falcon", "1.0.1")
	must(t, h.engine.Rollback("falcon", "by hand"))
	h.await("falcon", "went back", func(a meta.RealAgent) bool { return a.Version == "1.0.0" && a.Status == meta.StatusStarted })
	h.checkRunning("falcon", "1.0.0")
}

// The way in: releases are verified from now on, and what runs was installed before.
func TestWhatRanBeforeAnythingWasVerifiedRunsOnAndIsVerifiedBeforeItIsStartedAgain(t *testing.T) {
	t.Parallel()
	h, ours := newHost(t), newReleaseKey(t)
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	h.boot()
	h.apply(v1)
	h.runs("falcon", "1.0.0")

	h.trusts(meta.TrustRequire, ours)
	if a := h.reports("falcon", plan.CodeUnsigned); a.Phase != meta.PhaseIdle || a.Status != meta.StatusStarted || !strings.Contains(a.Error, "would not be started again") {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon", "1.0.0")
	if n := len(agenttest.Events(t, h.agentDir("falcon"))); n != 1 {
		t.Errorf("it was disturbed: %d events", n)
	}

	agenttest.Kill(t, h.agentDir("falcon"))
	a := h.await("falcon", "was kept down", func(a meta.RealAgent) bool {
		return a.Status == meta.StatusStopped && a.Phase == meta.PhaseFailed && a.Reason == plan.CodeUnsigned
	})
	if !strings.Contains(a.Error, "no signature") {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon")

	h.origin.sign(t, ours, v1)
	must(t, h.engine.Clear("falcon"))
	if a := h.runs("falcon", "1.0.0"); a.Reason != "" {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon", "1.0.0")

	// The journal knows it across restarts.
	agenttest.Kill(t, h.agentDir("falcon"))
	h.halt()
	delete(h.origin.files, meta.Arch()+"/"+meta.TarballName("falcon", "1.0.0"))
	h.boot()
	h.runs("falcon", "1.0.0")
	h.checkRunning("falcon", "1.0.0")
}

func TestNobodyGoesBackToWhatWasNeverVerified(t *testing.T) {
	t.Parallel()
	h, ours := newHost(t), newReleaseKey(t)
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	bad := h.origin.publish(t, "falcon", "1.0.2", agenttest.Habits{BeforeStart: "echo 'no licence'; exit 1"})
	h.origin.sign(t, ours, v2)
	h.origin.sign(t, ours, bad)
	h.boot()
	h.apply(v1)
	h.runs("falcon", "1.0.0")

	// A new version that fails leaves nothing running: what ran before may not be started.
	h.trusts(meta.TrustRequire, ours)
	h.apply(bad)
	a := h.await("falcon", "failed", func(a meta.RealAgent) bool {
		return a.Phase == meta.PhaseFailed && strings.Contains(a.Error, "no licence")
	})
	if !strings.Contains(a.Error, "1.0.0 was installed without being verified") {
		t.Errorf("report: %+v", a)
	}
	h.checkRunning("falcon")
	h.apply(v2)
	h.runs("falcon", "1.0.1")
	h.checkRunning("falcon", "1.0.1")

	// An operator is told so.
	err := h.engine.Rollback("falcon", "")
	if a := h.report("falcon"); a.PreviousVersion == "1.0.0" && (err == nil || !strings.Contains(err.Error(), "without being verified")) {
		t.Errorf("going back to %s: %v", a.PreviousVersion, err)
	} else if a.PreviousVersion != "1.0.0" {
		t.Errorf("previous is %q", a.PreviousVersion)
	}

	// When the server wants it, it is downloaded again, and what is signed comes back.
	h.apply(v1)
	h.reports("falcon", plan.CodeUnsigned)
	h.checkRunning("falcon", "1.0.1")
	h.origin.sign(t, ours, v1)
	must(t, h.engine.Clear("falcon"))
	h.runs("falcon", "1.0.0")
	h.checkRunning("falcon", "1.0.0")
}

func TestWithAWarningWhatIsNotSignedIsInstalledAndReported(t *testing.T) {
	t.Parallel()
	h, ours := newHost(t), newReleaseKey(t)
	h.trusts(meta.TrustWarn, ours)
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	v2 := h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{})
	h.origin.sign(t, ours, v2)
	h.boot()
	h.apply(v1)
	h.runs("falcon", "1.0.0")
	if a := h.reports("falcon", plan.CodeUnsigned); a.Phase != meta.PhaseIdle || !strings.Contains(a.Error, "it has no signature") {
		t.Errorf("report: %+v", a)
	}
	log, err := os.ReadFile(h.logFile)
	if err != nil || !strings.Contains(string(log), "though it is not verified") {
		t.Errorf("the log does not say so: %v", err)
	}
	h.apply(v2)
	if a := h.runs("falcon", "1.0.1"); a.Reason != "" || a.Error != "" {
		t.Errorf("report: %+v", a)
	}
}

func TestARemoteConfigThatIsNotSignedChangesNothing(t *testing.T) {
	t.Parallel()
	h, ours := newHost(t), newReleaseKey(t)
	h.trusts(meta.TrustRequire, ours)
	put := func(text string, sign bool) {
		h.origin.put("falcon.toml", []byte(text))
		h.origin.put("falcon.toml.minisig", []byte("none"))
		if sign {
			h.origin.put("falcon.toml.minisig", ours.Sign([]byte(text), trust.Config("falcon", "falcon.toml")))
		}
	}
	put("interval = 1\n", true)
	v1 := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
	h.origin.sign(t, ours, v1)
	v1.ConfigFileName, v1.ConfigRemoteURL = "falcon.toml", h.origin.URL+"/falcon.toml"
	h.boot()
	h.apply(v1)
	h.runs("falcon", "1.0.0")

	file := filepath.Join(h.agentDir("falcon"), "1.0.0", "falcon.toml")
	put("interval = 2\n", false)
	if a := h.reports("falcon", plan.CodeBadSignature); a.Phase != meta.PhaseIdle || a.Status != meta.StatusStarted {
		t.Errorf("report: %+v", a)
	}
	if text, err := os.ReadFile(file); string(text) != "interval = 1\n" {
		t.Errorf("the file is now %q, %v", text, err)
	}
	put("interval = 3\n", true)
	h.await("falcon", "had its new config", func(a meta.RealAgent) bool {
		text, err := os.ReadFile(file)
		return err == nil && string(text) == "interval = 3\n" && a.Phase == meta.PhaseIdle && a.Status == meta.StatusStarted && a.Reason == ""
	})
	h.checkRunning("falcon", "1.0.0")
}

// requireSignatures has the real program verify releases and configurations.
func (s *sidecar) requireSignatures(keys ...trust.PrivateKey) {
	s.t.Helper()
	path := filepath.Join(s.dir, "cfg.json")
	data, err := os.ReadFile(path)
	must(s.t, err)
	var cfg map[string]any
	must(s.t, json.Unmarshal(data, &cfg))
	var texts []string
	for _, k := range keys {
		texts = append(texts, k.Public().String())
	}
	cfg["trust"] = map[string]any{"releases": meta.TrustRequire, "configs": meta.TrustRequire, "release_keys": texts}
	data, err = json.Marshal(cfg)
	must(s.t, err)
	agenttest.Write(s.t, path, string(data), 0o644)
}

// Killed at any moment, nothing that nobody vouched for is executed, before and after; and
// what is vouched for gets there all the same.
func TestI4KilledAnywhereNothingUnverifiedIsExecuted(t *testing.T) {
	// With the digest that it has, under the signature of the one that it replaces.
	tamper := func(s *sidecar, _ trust.PrivateKey, a meta.DesiredAgent) {
		s.origin.publish(s.t, a.Name, a.Version, noticed(agenttest.Habits{App: "note evil"}))
	}
	swap := func(s *sidecar, k trust.PrivateKey, a meta.DesiredAgent) {
		file := meta.Arch() + "/" + meta.TarballName(a.Name, a.Version)
		s.origin.put(file+trust.Extension, k.Sign(s.origin.files[file], trust.Release(a.Name, "1.0.0", meta.Arch())))
	}
	for point, spoil := range map[string]func(*sidecar, trust.PrivateKey, meta.DesiredAgent){
		"sidecar.downloading": tamper, "sidecar.ended": tamper, "child.install.before": swap,
	} {
		t.Run("refused/"+point, func(t *testing.T) {
			t.Parallel()
			s, ours := newVouchedSidecar(t)
			bad := s.origin.publish(t, "falcon", "1.0.1", noticed(agenttest.Habits{}))
			s.origin.sign(t, ours, bad)
			spoil(s, ours, bad)
			sum := md5.Sum(s.origin.files[meta.Arch()+"/"+meta.TarballName("falcon", "1.0.1")])
			bad.MD5 = hex.EncodeToString(sum[:])
			s.killOnTheWay(point, bad)
			s.await("the release was refused", func() bool {
				a := s.server.last("falcon")
				return (a.Reason == plan.CodeBadSignature || a.Reason == plan.CodeOtherSubject) && a.Status == meta.StatusStarted && a.Version == "1.0.0"
			})
			s.checkVouched("1.0.0")
			checkNeverExecuted(t, s.falcon(), "1.0.1")
			if _, err := os.Stat(filepath.Join(s.falcon(), "1.0.1")); err == nil {
				t.Error("I4: it has the name of a version")
			}
		})
	}
	for _, point := range []string{"child.install.after", "sidecar.activated"} {
		t.Run("signed/"+point, func(t *testing.T) {
			t.Parallel()
			s, ours := newVouchedSidecar(t)
			good := s.origin.publish(t, "falcon", "1.0.1", noticed(agenttest.Habits{}))
			s.origin.sign(t, ours, good)
			s.killOnTheWay(point, good)
			s.awaitReport("1.0.1", meta.PhaseIdle)
			if a := s.server.last("falcon"); a.Reason != "" {
				t.Errorf("report: %+v", a)
			}
			s.checkVouched("1.0.1")
			checkExecuted(t, s.falcon(), "1.0.1")
		})
	}
}

// newVouchedSidecar is one that runs falcon 1.0.0, as a key has signed it, and stands still.
func newVouchedSidecar(t *testing.T) (*sidecar, trust.PrivateKey) {
	t.Helper()
	s, ours := newSidecar(t), newReleaseKey(t)
	s.requireSignatures(ours)
	v1 := s.origin.publish(t, "falcon", "1.0.0", noticed(agenttest.Habits{}))
	s.origin.sign(t, ours, v1)
	s.server.want(v1)
	s.start("")
	s.awaitReport("1.0.0", meta.PhaseIdle)
	s.end()
	return s, ours
}

func (s *sidecar) falcon() string { return filepath.Join(s.dir, "work/falcon") }

func (s *sidecar) killOnTheWay(point string, want meta.DesiredAgent) {
	s.t.Helper()
	s.server.want(want)
	s.start(point + ":kill")
	if strings.HasPrefix(point, "sidecar.") {
		s.awaitKilled()
		s.start("")
		return
	}
	s.await("the fault point was reached", func() bool {
		_, err := os.Stat(s.onceFile())
		return err == nil
	})
}

// checkVouched: version alone runs, and the journal knows who vouched for it.
func (s *sidecar) checkVouched(version string) {
	s.t.Helper()
	s.checkI1()
	if got := running(s.t, s.falcon(), 1); !slices.Equal(got, []string{version}) {
		s.t.Errorf("I2: running %v; want %s", got, version)
	}
	for _, e := range agenttest.Events(s.t, s.falcon()) {
		if e.What == "two-at-once" {
			s.t.Errorf("I3: %s was started while another version ran", e.Version)
		}
	}
	data, err := os.ReadFile(filepath.Join(s.dir, "var/journal/falcon.json"))
	must(s.t, err)
	var r plan.Record
	must(s.t, json.Unmarshal(data, &r))
	at := plan.Target{Place: plan.Place{WorkDir: filepath.Join(s.dir, "work")}, Version: version}
	if v := r.VerificationOf(at); v.Key == "" {
		s.t.Errorf("the journal does not know who vouched for %s: %+v", version, r.Verified)
	}
}
