package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// promtool runs Debian's promtool in dir.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no promtool: install Debian's package prometheus")
		}
		t.Skip("SKIPPED: there is no promtool (Debian: apt-get install prometheus)")
	}
	cmd := exec.Command("promtool", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestAlertsCryWhenTheyShould(t *testing.T) {
	promtool(t, "packaging/prometheus", "check", "rules", "ops-updater.rules.yml")
	promtool(t, "packaging/prometheus", "test", "rules", "ops-updater.rules_test.yml")
}

// alertExpressions are what the rules look at.
func alertExpressions(t *testing.T) (found []string) {
	t.Helper()
	data, err := os.ReadFile("packaging/prometheus/ops-updater.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(data, &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			found = append(found, r.Expr)
		}
	}
	return found
}

// panelExpressions are what the dashboard shows.
func panelExpressions(t *testing.T) (found []string) {
	t.Helper()
	data, err := os.ReadFile("packaging/grafana/ops-meta.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("the panel %s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			found = append(found, target.Expr)
		}
	}
	return found
}

func TestTheDashboardAsksWhatPrometheusUnderstands(t *testing.T) {
	var b strings.Builder
	b.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	for i, expr := range panelExpressions(t) {
		fmt.Fprintf(&b, "      - {record: 'panel:%d', expr: %q}\n", i, expr)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dashboard.yml"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "check", "rules", "dashboard.yml")
}

// TestAlertsAndDashboardLookAtMetricsThatThereAre: a metric that is renamed must not leave
// an alert behind that never cries.
func TestAlertsAndDashboardLookAtMetricsThatThereAre(t *testing.T) {
	ours := regexp.MustCompile(`\bops_(?:meta|updater)_[a-z_]+`)
	var sources strings.Builder
	for _, pattern := range []string{"meta/server/*.go", "updater/local/*.go", "meta/internal/*/*.go", "internal/exposition/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(data)
		}
	}
	served := ours.FindAllString(sources.String(), -1)
	for _, expr := range slices.Concat(alertExpressions(t), panelExpressions(t)) {
		for _, metric := range ours.FindAllString(expr, -1) {
			if !slices.Contains(served, strings.TrimSuffix(metric, "_bucket")) {
				t.Errorf("%s asks for %s, which neither program serves", expr, metric)
			}
		}
	}
}
