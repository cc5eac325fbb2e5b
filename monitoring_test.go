package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

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

// prometheus is a running Debian's Prometheus.
type prometheus struct {
	*stage
	addr string
}

// ask decodes the answer to a GET of its API.
func (p prometheus) ask(path string, answer any) error {
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get("http://" + p.addr + "/api/v1/" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<22))
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, r.Status, body)
	}
	return json.Unmarshal(body, answer)
}

// TestPrometheusRunsWithTheRules: a real one scrapes a real server, loads every alert,
// answers every panel of the dashboard, and one alert waits when the server is gone.
func TestPrometheusRunsWithTheRules(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: starts servers")
	}
	program, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no prometheus: install Debian's package prometheus")
		}
		t.Skip("SKIPPED: there is no prometheus (Debian: apt-get install prometheus)")
	}
	t.Parallel()
	s := newStage(t)
	s.host("web-1")
	rules, err := filepath.Abs("packaging/prometheus/ops-updater.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	gone := freeAddr(t)
	config := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: ops-meta
    static_configs: [{targets: [%q, %q]}]
`, rules, s.addr, gone)
	if err := os.WriteFile(filepath.Join(s.dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := prometheus{stage: s, addr: freeAddr(t)}
	s.startProgram("prometheus.log", program, "--config.file=prometheus.yml", "--storage.tsdb.path=series", "--web.listen-address="+p.addr)

	query := func(expr string) (found []struct{ Value [2]any }, err error) {
		var answer struct {
			Data struct{ Result json.RawMessage }
		}
		if err := p.ask("query?"+url.Values{"query": {expr}}.Encode(), &answer); err != nil {
			return nil, err
		}
		_ = json.Unmarshal(answer.Data.Result, &found) // a scalar is no list
		return found, nil
	}
	s.eventually("the server's host in Prometheus", func() bool {
		found, err := query("ops_meta_hosts")
		return err == nil && len(found) == 1 && found[0].Value[1] == "1"
	})
	for _, expr := range panelExpressions(t) {
		if _, err := query(expr); err != nil {
			t.Errorf("a panel asks %s: %v", expr, err)
		}
	}
	var loaded struct {
		Data struct {
			Groups []struct {
				Rules []struct {
					Name, Health, LastError, State string
					Alerts                         []struct{ Labels map[string]string }
				}
			}
		}
	}
	s.eventually("each rule was looked at, and one waits", func() bool {
		if err := p.ask("rules", &loaded); err != nil {
			return false
		}
		rules, waits := 0, false
		for _, g := range loaded.Data.Groups {
			for _, r := range g.Rules {
				if r.Health != "ok" {
					return false
				}
				rules++
				for _, a := range r.Alerts {
					waits = waits || r.Name == "OpsMetaDown" && r.State == "pending" && a.Labels["instance"] == gone
				}
			}
		}
		return waits && rules == len(alertExpressions(t))
	})
}
