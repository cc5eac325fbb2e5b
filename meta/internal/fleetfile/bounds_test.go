package fleetfile_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/internal/fleetfile"
)

// An import of more entries than anybody has is refused before they are
// compared.
func TestHostileImportsCostLittle(t *testing.T) {
	file := `{"agents":[{"default":{"name":"a","version":"1","tarball":"http://x/y","cmd":"start"},"others":[` +
		strings.TrimSuffix(strings.Repeat(`{"prefix":"p","version":"2"},`, 100_000), ",") + `]}]}`
	begun := time.Now()
	_, problems := fleetfile.Import([]byte(file))
	if took := time.Since(begun); len(problems) != 1 || !strings.Contains(problems[0].Message, "at most 10000") || took > 10*time.Second {
		t.Errorf("got %v after %v", problems, took)
	}
}

// Files that cost many times their size are given up early, with what was
// found until then.
func TestHostileFilesCostLittle(t *testing.T) {
	unknown := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "x%d: 1, ", i)
		}
		return "{" + b.String() + "}"
	}
	many := func(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+", ", n), ", ") }
	doubling := func(levels int) string {
		var b strings.Builder
		b.WriteString("agents:\n  - &m0 {name: a}\n")
		for i := range levels {
			fmt.Fprintf(&b, "  - &m%d {<<: *m%d, <<: *m%d}\n", i+1, i, i)
		}
		return b.String()
	}
	cases := []struct{ name, file, says string }{
		{"unknown fields, by aliases", "agents: [&a " + unknown(2000) + ", " + many(2000, "*a") + "]", "unknown field"},
		{"unknown fields, by merges", "agents: [&a " + unknown(2000) + ", " + many(2000, "{<<: *a}") + "]", "unknown field"},
		{"unknown fields, written", strings.ReplaceAll(strings.Trim(unknown(100_000), "{} "), ", ", "\n"), "too many fields"},
		{"in braces", "agents: [" + unknown(100_000) + "]", "too many fields"},
		{"as many as are read", strings.ReplaceAll(strings.Trim(unknown(4_500), "{} "), ", ", "\n"), "unknown field"},
		{"known fields, by aliases", "agents: [&a {name: a, description: b}, " + many(60_000, "*a") + "]", "too large"},
		{"lists of aliases", "groups: [&g {name: g, selector: {hosts: &h [" + many(2000, "a") + "]}}, " + many(2000, "{name: g, selector: {hosts: *h}}") + "]", "too large"},
		{"merges that double", doubling(40), ""},
		{"long names, by aliases", "groups: [&g {name: g, selector: {labels: {" + strings.Repeat("k", 1<<20) + ": v}}}, " + many(20_000, "*g") + "]", "more than 1024 bytes"},
		{"aliases of nothing", "agents: [" + many(100_000, "*a") + "]", "no anchor"},
		{"as many things as fit", "agents: [" + strings.TrimSuffix(strings.Repeat("a,", 2_000_000), ",") + "]", "more than 500000 things"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			_, problems := fleetfile.Parse([]byte(c.file))
			took := time.Since(begun)
			runtime.ReadMemStats(&after)
			if len(problems) == 0 || len(problems) > fleetfile.MaxProblems || !strings.Contains(fmt.Sprint(problems), c.says) {
				t.Errorf("%d problems, %.300s; want %q", len(problems), fmt.Sprint(problems), c.says)
			}
			if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 20*time.Second || mib > 700 {
				t.Errorf("%d bytes took %v and %d MiB", len(c.file), took, mib)
			}
			t.Logf("%d bytes: %v, %d MiB", len(c.file), took, (after.TotalAlloc-before.TotalAlloc)>>20)
		})
	}
}
