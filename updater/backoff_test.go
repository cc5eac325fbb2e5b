package updater

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/agent"
)

func TestBlocksDoubleUpToALimit(t *testing.T) {
	cases := []struct {
		name    string
		release bool
		want    []time.Duration // after each failure
	}{
		{"release at fault", true, []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute, 80 * time.Minute}},
		{"passing failure", false, []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute}},
	}
	now := time.Unix(1_000_000, 0)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := Record{}
			f := fault{key: "md5:x", version: "1.0.1", reason: "no", release: c.release}
			for i, want := range c.want {
				if b := r.block(f, now); b.Until.Sub(now) != want || b.Failures != i+1 {
					t.Fatalf("failure %d: %+v; want %v", i+1, b, want)
				}
			}
			for range 50 {
				r.block(f, now)
			}
			limit := retryLimit
			if c.release {
				limit = quarantineLimit
			}
			b, blocked := r.blocked("md5:x", now)
			if !blocked || b.Until.Sub(now) != limit || len(r.Blocks) != 1 {
				t.Fatalf("after many failures: %+v; want %v", r.Blocks, limit)
			}
			if _, blocked := r.blocked("md5:x", b.Until); blocked {
				t.Fatal("still blocked when the time is over")
			}
		})
	}
}

func TestBlocksAreBounded(t *testing.T) {
	r := Record{}
	for i := range 100 {
		r.block(fault{key: string(rune('a' + i))}, time.Unix(0, 0))
	}
	if len(r.Blocks) != maxBlocks {
		t.Fatalf("%d blocks", len(r.Blocks))
	}
}

func TestADigestThatAnInstallLearnedIdentifiesTheRelease(t *testing.T) {
	w := Wish{Agent: meta.DesiredAgent{Name: "falcon", Version: "1.0.1", Tarball: "http://x/falcon"}}
	r := Record{}
	elsewhere := w
	elsewhere.Agent.Tarball = "http://y/falcon"
	if key := r.releaseKey(w); !strings.HasPrefix(key, "source:") || key == r.releaseKey(elsewhere) {
		t.Fatalf("key %q before anything was learned", key)
	}
	r.Learned = Learned{Source: digestOf(w.Agent.MD5URL(w.Dialect, meta.Arch())), MD5: "abc"}
	if key := r.releaseKey(w); key != "md5:abc" {
		t.Fatalf("key %q", key)
	}
	w.Agent.Version = "1.0.2"
	if key := r.releaseKey(w); key == "md5:abc" {
		t.Fatal("what was learned of one version counts for another")
	}
}

func TestStartsAfterCrashesBackOff(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var c CrashLog
	for i, want := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second} {
		if c = c.started(now); c.Until.Sub(now) != want || c.Starts != i+1 {
			t.Fatalf("start %d: %+v; want %v", i+1, c, want)
		}
	}
	for range 20 {
		c = c.started(now)
	}
	if c.Until.Sub(now) != crashLimit {
		t.Fatalf("after many: %v", c.Until.Sub(now))
	}
	if c = c.started(now.Add(time.Hour)); c.Starts != 1 {
		t.Fatalf("after a calm hour: %+v", c)
	}
}

func TestTrial(t *testing.T) {
	up := agent.Probe{Status: agent.Status{Word: meta.StatusStarted}, Pid: 7}
	down := agent.Probe{Status: agent.Status{Word: meta.StatusStopped}}
	lost := agent.Probe{Status: agent.Status{Word: meta.StatusUnknown, Detail: "hm"}}
	other, noPid, well, sick := up, up, up, up
	other.Pid, noPid.Pid = 8, 0
	well.HasHealth = true
	sick.HasHealth, sick.Unhealthy = true, "queue full"
	cases := []struct {
		name   string
		looks  []agent.Probe // one a second; probation takes five
		want   verdict
		at     int
		reason string
	}{
		{"stays up", []agent.Probe{up, up, up, up, up, up}, proved, 5, ""},
		{"no pid", []agent.Probe{noPid, noPid, noPid, noPid, noPid, noPid}, proved, 5, ""},
		{"pid comes late", []agent.Probe{noPid, up, noPid, up, up, up}, proved, 5, ""},
		{"stops", []agent.Probe{up, down, down}, failed, 2, "stopped"},
		{"one odd look", []agent.Probe{up, down, up, lost, up, up}, proved, 5, ""},
		{"restarts", []agent.Probe{up, other}, failed, 1, "from 7 to 8"},
		{"cannot be told", []agent.Probe{up, lost, lost, lost}, failed, 3, "hm"},
		{"not at the end", []agent.Probe{up, up, up, up, up, lost, up}, proved, 6, ""},
		{"well", []agent.Probe{sick, sick, sick, sick, well, well}, proved, 5, ""},
		{"never well", []agent.Probe{sick, sick, sick, sick, sick, sick}, failed, 5, "queue full"},
		{"falls ill", []agent.Probe{well, sick, sick, sick}, failed, 3, "queue full"},
		{"ill for a moment", []agent.Probe{well, sick, sick, well, well, well}, proved, 5, ""},
		{"ill at the end", []agent.Probe{well, well, well, well, well, sick, well}, proved, 6, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Unix(0, 0)
			judge := trial{ends: begin.Add(5 * time.Second)}
			for i, look := range c.looks {
				v, why := judge.see(look, begin.Add(time.Duration(i)*time.Second))
				switch {
				case i < c.at && v != undecided:
					t.Fatalf("look %d: decided too early: %v %q", i, v, why)
				case i == c.at && (v != c.want || !strings.Contains(why, c.reason)):
					t.Fatalf("look %d: %v %q; want %v %q", i, v, why, c.want, c.reason)
				}
			}
		})
	}
}
