package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/host/status"
	"github.com/ops-updater/ops-updater/meta"
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
			f := Fault{Key: "md5:x", Version: "1.0.1", Reason: "no", Release: c.release}
			for i, want := range c.want {
				if b := r.AddFailure(f, now); b.Until.Sub(now) != want || b.Failures != i+1 {
					t.Fatalf("failure %d: %+v; want %v", i+1, b, want)
				}
			}
			for range 50 {
				r.AddFailure(f, now)
			}
			limit := retryLimit
			if c.release {
				limit = quarantineLimit
			}
			b, blocked := r.BlockFor("md5:x", now)
			if !blocked || b.Until.Sub(now) != limit || len(r.Blocks) != 1 {
				t.Fatalf("after many failures: %+v; want %v", r.Blocks, limit)
			}
			if _, blocked := r.BlockFor("md5:x", b.Until); blocked {
				t.Fatal("still blocked when the time is over")
			}
		})
	}
}

func TestBlocksAreBounded(t *testing.T) {
	r := Record{}
	for i := range 100 {
		r.AddFailure(Fault{Key: string(rune('a' + i))}, time.Unix(0, 0))
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
	if key := r.ReleaseKey(w); !strings.HasPrefix(key, "source:") || key == r.ReleaseKey(elsewhere) {
		t.Fatalf("key %q before anything was learned", key)
	}
	r.Learned = Learned{Source: AddressDigest(w.Agent.MD5URL(w.Dialect, meta.Arch())), MD5: "abc"}
	if key := r.ReleaseKey(w); key != "md5:abc" {
		t.Fatalf("key %q", key)
	}
	w.Agent.Version = "1.0.2"
	if key := r.ReleaseKey(w); key == "md5:abc" {
		t.Fatal("what was learned of one version counts for another")
	}
}

func TestAReleaseThatCannotBeHadIsTriedAtOnceFromElsewhere(t *testing.T) {
	digest := strings.Repeat("0", 32)
	w := Wish{Agent: meta.DesiredAgent{Name: "falcon", Version: "1.0.1", Tarball: "http://x/falcon", MD5: digest}}
	r := Record{}
	earlier := "fetch:1.0.1 " + AddressDigest("http://x/falcon ") + " md5:" + digest
	if key := r.FetchKey(w); key != earlier {
		t.Errorf("key %q, want that of earlier versions, %q", key, earlier)
	}
	mirrored := w
	mirrored.Agent.Mirrors = meta.AddressesOf("http://y/falcon")
	if r.FetchKey(mirrored) == earlier || r.ReleaseKey(mirrored) != r.ReleaseKey(w) {
		t.Errorf("with a mirror: fetch %q, release %q", r.FetchKey(mirrored), r.ReleaseKey(mirrored))
	}
}

func TestStartsAfterCrashesBackOff(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var c CrashLog
	for i, want := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second} {
		if c = c.WithStart(now); c.Until.Sub(now) != want || c.Starts != i+1 {
			t.Fatalf("start %d: %+v; want %v", i+1, c, want)
		}
	}
	for range 20 {
		c = c.WithStart(now)
	}
	if c.Until.Sub(now) != crashLimit {
		t.Fatalf("after many: %v", c.Until.Sub(now))
	}
	if c = c.WithStart(now.Add(time.Hour)); c.Starts != 1 {
		t.Fatalf("after a calm hour: %+v", c)
	}
}

func TestTrial(t *testing.T) {
	up := Probe{Status: status.Status{Word: meta.StatusStarted}, Pid: 7}
	down := Probe{Status: status.Status{Word: meta.StatusStopped}}
	lost := Probe{Status: status.Status{Word: meta.StatusUnknown, Detail: "hm"}}
	other, noPid, well, sick := up, up, up, up
	other.Pid, noPid.Pid = 8, 0
	well.HasHealth = true
	sick.HasHealth, sick.Unhealthy = true, "queue full"
	cases := []struct {
		name   string
		looks  []Probe // one a second; probation takes five
		want   Verdict
		at     int
		reason string
	}{
		{"stays up", []Probe{up, up, up, up, up, up}, Proved, 5, ""},
		{"no pid", []Probe{noPid, noPid, noPid, noPid, noPid, noPid}, Proved, 5, ""},
		{"pid comes late", []Probe{noPid, up, noPid, up, up, up}, Proved, 5, ""},
		{"stops", []Probe{up, down, down}, Disproved, 2, "stopped"},
		{"one odd look", []Probe{up, down, up, lost, up, up}, Proved, 5, ""},
		{"restarts", []Probe{up, other}, Disproved, 1, "from 7 to 8"},
		{"cannot be told", []Probe{up, lost, lost, lost}, Disproved, 3, "hm"},
		{"not at the end", []Probe{up, up, up, up, up, lost, up}, Proved, 6, ""},
		{"well", []Probe{sick, sick, sick, sick, well, well}, Proved, 5, ""},
		{"never well", []Probe{sick, sick, sick, sick, sick, sick}, Disproved, 5, "queue full"},
		{"falls ill", []Probe{well, sick, sick, sick}, Disproved, 3, "queue full"},
		{"ill for a moment", []Probe{well, sick, sick, well, well, well}, Proved, 5, ""},
		{"ill at the end", []Probe{well, well, well, well, well, sick, well}, Proved, 6, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Unix(0, 0)
			judge := Trial{Ends: begin.Add(5 * time.Second)}
			for i, look := range c.looks {
				v, why := judge.Judge(look, begin.Add(time.Duration(i)*time.Second))
				switch {
				case i < c.at && v != Undecided:
					t.Fatalf("look %d: decided too early: %v %q", i, v, why)
				case i == c.at && (v != c.want || !strings.Contains(why, c.reason)):
					t.Fatalf("look %d: %v %q; want %v %q", i, v, why, c.want, c.reason)
				}
			}
		})
	}
}
