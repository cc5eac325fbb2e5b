package fleet_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// BenchmarkMemoryOfAHost tells how many bytes a host with three agents costs.
func BenchmarkMemoryOfAHost(b *testing.B) {
	const hosts = 200_000
	for b.Loop() {
		before := liveHeap()
		f := fleet.New(fleet.Options{})
		f.UseSnapshot(fleet.Compile(fleet.Config{Wanted: wanted()}, time.Now()))
		for i := range hosts {
			f.Restore(storedHost(i))
		}
		b.ReportMetric(float64(liveHeap()-before)/hosts, "B/host")
		runtime.KeepAlive(f)
	}
}

// storedHost is a host as the store hands it out: its texts share memory.
func storedHost(i int) api.Host {
	text := fmt.Sprintf("host-%07d 10.%d.%d.%d %08x-1a8e-4d7c-9b43-3f5a2d8f9b10", i, i>>16, i>>8&255, i&255, i)
	part := strings.Fields(text)
	h := api.Host{Name: part[0], IP: part[1], BootID: part[2], BootTime: 1_700_000_000, Arch: "linux_amd64", RunUser: "root", UpdaterVersion: "1.0.0", Dialect: "v1", LastSeen: time.Now(), FirstSeen: time.Now()}
	h.Labels = map[string]string{"zone": fmt.Sprint("z", i%4), "rack": fmt.Sprint("r", i%500)}
	for _, a := range []string{"falcon-agent", "log-shipper", "node-exporter"} {
		h.Agents = append(h.Agents, api.HostAgent{Name: a, Version: "1.0", Status: "started", Phase: "idle", RunUser: a, WorkDir: "/opt/agents"})
	}
	return h
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
