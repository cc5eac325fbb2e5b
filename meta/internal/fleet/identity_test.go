package fleet_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// step is a heartbeat of one of two machines that call themselves h.
type step struct {
	after   time.Duration
	boot    string
	bootAt  int64
	ip      string
	version string
}

func TestTwoHostsUnderOneName(t *testing.T) {
	const s = time.Minute
	cases := []struct {
		name     string
		steps    []step
		conflict bool
		version  string // of the host that is known
	}{
		{"one host", []step{{0, "A", 100, "1", "1.0"}, {s, "A", 100, "1", "1.0"}}, false, "1.0"},
		{"a reboot", []step{{0, "A", 100, "1", "1.0"}, {s, "B", 200, "1", "2.0"}, {s, "B", 200, "1", "2.0"}}, false, "2.0"},
		{"two reboots", []step{{0, "A", 100, "1", "1.0"}, {s, "B", 200, "1", "1.0"}, {s, "C", 300, "1", "1.0"}}, false, "1.0"},
		{"the first boot id comes back", []step{{0, "A", 0, "1", "1.0"}, {s, "B", 0, "2", "2.0"}, {s, "A", 0, "1", "1.0"}}, true, "1.0"},
		{"the second is not merged", []step{{0, "A", 0, "1", "1.0"}, {s, "B", 0, "2", "2.0"}, {s, "A", 0, "1", "1.0"}, {s, "B", 0, "2", "2.0"}}, true, "1.0"},
		{"an older boot is another host at once", []step{{0, "A", 200, "1", "1.0"}, {s, "B", 100, "2", "2.0"}}, true, "1.0"},
		{"the second falls silent", []step{{0, "A", 200, "1", "1.0"}, {s, "B", 100, "2", "2.0"}, {s, "A", 200, "1", "1.0"}, {20 * s, "A", 200, "1", "1.0"}}, false, "1.0"},
		{"the first falls silent", []step{{0, "A", 200, "1", "1.0"}, {s, "B", 100, "2", "2.0"}, {10 * s, "B", 100, "2", "2.0"}, {10 * s, "B", 100, "2", "2.0"}}, false, "2.0"},
		{"told by address without boot ids", []step{{0, "", 0, "1", "1.0"}, {s, "", 0, "2", "2.0"}, {s, "", 0, "1", "1.0"}}, true, "1.0"},
		{"a new address", []step{{0, "", 0, "1", "1.0"}, {s, "", 0, "2", "2.0"}, {s, "", 0, "2", "2.0"}}, false, "2.0"},
		{"an address that returns much later", []step{{0, "", 0, "1", "1.0"}, {s, "", 0, "2", "2.0"}, {40 * s, "", 0, "1", "3.0"}}, false, "3.0"},
		{"one boot id with two addresses is one host", []step{{0, "A", 0, "1", "1.0"}, {s, "A", 0, "2", "1.0"}, {s, "A", 0, "1", "1.0"}}, false, "1.0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, fleet.Options{Interval: 5 * time.Minute}, wanted())
				for _, st := range c.steps {
					<-time.After(st.after)
					req := report("h", running("falcon", st.version))
					req.BootID, req.BootTime, req.IP = st.boot, st.bootAt, "10.0.0."+st.ip
					beat(t, f, meta.DialectV1, req)
				}
				h, _ := f.Host("h")
				if got := len(h.Problems) > 0; got != c.conflict {
					t.Errorf("problems %q; want a conflict: %v", h.Problems, c.conflict)
				}
				if h.Agents[0].Version != c.version {
					t.Errorf("known at %s; want %s", h.Agents[0].Version, c.version)
				}
			})
		})
	}
}

func TestAnOlderClientsHostKeepsTheArchItHad(t *testing.T) {
	cases := []struct {
		name          string
		dialect       meta.Dialect
		arch, tarball string
		md5           string
	}{
		{"older dialect", meta.DialectLegacy, "linux_arm64", base + "/releases/falcon/linux_arm64", base + "/releases/falcon/linux_arm64"},
		{"a client of this contract that tells none may know no digests", meta.DialectV1, "", base + "/releases/falcon", base + "/releases/falcon"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := wanted()
			w.Assignments = append(w.Assignments, assign("falcon", everyone, "1.0"))
			f := newFleet(t, fleet.Options{}, w)
			known := report("h")
			known.Arch = "linux_arm64"
			beat(t, f, meta.DialectV1, known)
			older := report("h")
			older.Arch = ""
			got := told(t, beat(t, f, c.dialect, older))["falcon"]
			if got.Tarball != c.tarball || got.MD5 != c.md5 {
				t.Errorf("it was told %+v, want %s and %s", got, c.tarball, c.md5)
			}
			if h, _ := f.Host("h"); h.Arch != c.arch {
				t.Errorf("its arch is %q, want %q", h.Arch, c.arch)
			}
		})
	}
}

func TestASecondHostIsAnsweredForItself(t *testing.T) {
	w := wanted()
	w.Assignments = append(w.Assignments, assign("falcon", everyone, "1.0"))
	f := newFleet(t, fleet.Options{}, w)
	first := report("h")
	first.BootID, first.BootTime = "A", 200
	beat(t, f, meta.DialectV1, first)
	other := report("h")
	other.BootID, other.BootTime, other.Arch = "B", 100, "linux_386"
	if got := told(t, beat(t, f, meta.DialectV1, other))["falcon"]; got.Cmd != "" {
		t.Fatalf("the second host, of another arch, was told %+v", got)
	}
	if h, _ := f.Host("h"); h.Arch != "linux_amd64" {
		t.Fatalf("the second host was merged: %+v", h)
	}
}

func TestARenamedHostIsLinked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		f := newFleet(t, fleet.Options{Journal: j, Interval: time.Minute}, wanted())
		stop := start(t, f)
		send := func(name, boot string) {
			req := report(name)
			req.BootID = boot
			beat(t, f, meta.DialectV1, req)
		}
		send("old", "4a6bd1f7-1a8e-4d7c-9b43-3f5a2d8f9b10")
		send("container", "77777777-1a8e-4d7c-9b43-3f5a2d8f9b10")
		send("sibling", "77777777-1a8e-4d7c-9b43-3f5a2d8f9b10")
		<-time.After(time.Minute)
		send("container", "77777777-1a8e-4d7c-9b43-3f5a2d8f9b10")
		for range 8 {
			send("new", "4a6bd1f7-1a8e-4d7c-9b43-3f5a2d8f9b10")
			<-time.After(time.Minute)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		got := j.kinds()
		for _, want := range []string{"old host  →new", "new host  old→"} {
			if !slices.Contains(got, want) {
				t.Errorf("timeline %q lacks %q", got, want)
			}
		}
		for _, line := range got {
			if strings.Contains(line, "→sibling") || strings.Contains(line, "→container") {
				t.Errorf("containers of one machine were taken for one host: %q", line)
			}
		}
		if h, _ := f.Host("old"); len(h.Problems) != 1 {
			t.Errorf("problems of the old name: %q", h.Problems)
		}
	})
}

func TestAClockThatIsOff(t *testing.T) {
	cases := []struct {
		name string
		off  time.Duration
		want bool
	}{
		{"exact", 0, false},
		{"as old as its interval", -5 * time.Minute, false},
		{"an hour behind", -time.Hour, true},
		{"a little ahead", time.Minute, false},
		{"ten minutes ahead", 10 * time.Minute, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFleet(t, fleet.Options{}, wanted())
			a := running("falcon", "1.0")
			a.Timestamp = time.Now().Add(c.off).Unix()
			beat(t, f, meta.DialectV1, report("h", a))
			if h, _ := f.Host("h"); (len(h.Problems) > 0) != c.want {
				t.Fatalf("problems %q; want one: %v", h.Problems, c.want)
			}
		})
	}
}
