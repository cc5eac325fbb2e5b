package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/server"
)

func TestHostsSilentForLongAreForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, conf server.Config) {
		conf.ForgetHosts = 30
		r := start(t, conf)
		report := func(host string) {
			r.heartbeat(t, "", meta.HeartbeatRequest{Hostname: host, Arch: "linux_amd64", RealAgents: []meta.RealAgent{{Name: "x", Version: "1", Status: "started"}}})
		}
		forget := func(later time.Duration) error { return r.ForgetSilent(t.Context(), time.Now().Add(later)) }
		known := func(host string) bool {
			_, err := r.admin.Host(t.Context(), host)
			return err == nil
		}
		report("a")
		report("b")
		if err := forget(29 * 24 * time.Hour); err != nil || !known("a") || !known("b") {
			t.Fatalf("forgotten too early, or %v", err)
		}
		if err := forget(31 * 24 * time.Hour); err != nil || known("a") || known("b") {
			t.Fatalf("not forgotten, or %v", err)
		}
		page, err := r.admin.Audit(t.Context(), api.ListOptions{Kind: "host"})
		if err != nil || len(page.Items) != 2 || page.Items[0].Action != "delete" || page.Items[0].Actor != "ops-meta" {
			t.Errorf("the audit log says %+v, %v", page.Items, err)
		}
		report("a")
		if !known("a") {
			t.Error("a host that comes back is not known again")
		}

		for i := range 20 {
			report(fmt.Sprintf("h%d", i))
		}
		if err := forget(31 * 24 * time.Hour); err == nil || !strings.Contains(err.Error(), "more than half") || !known("h3") {
			t.Errorf("most of the fleet was forgotten: %v", err)
		}
	})
}
