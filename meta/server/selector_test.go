package server_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// A selector that costs too much to be matched is refused when it is written;
// stored, its group would match nothing.
func TestASelectorThatCostsTooMuchIsRefused(t *testing.T) {
	r := start(t, newConfig(t))
	g := api.Group{Name: "g"}
	for i := range 200 {
		g.Selector.Regexps = append(g.Selector.Regexps, fmt.Sprintf("(a|b|c%d){0,90}x", i))
	}
	file := "groups:\n  - {name: g, selector: {regexps: ['" + strings.Join(g.Selector.Regexps, "', '") + "']}}\n"
	for how, err := range map[string]error{
		"put":        second(r.admin.PutGroup(t.Context(), g)),
		"fleet file": second(r.admin.ApplyFleet(t.Context(), []byte(file), api.ApplyOptions{})),
	} {
		if p := problem(err); p == nil || p.Status != 400 || !strings.Contains(p.Detail, "needs more than 20000 steps") {
			t.Errorf("%s: got %+v, %v", how, p, err)
		}
	}
}
