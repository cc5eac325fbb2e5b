package local_test

import (
	"encoding/json"
	"testing"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater/local"
)

// FuzzOrder: an order that is valid is about an agent that there can be, and bounded.
func FuzzOrder(f *testing.F) {
	for _, s := range []string{`{"verb":"hold","agent":"a","reason":"x","until":"2030-01-01T00:00:00Z"}`, `{"verb":"dance","agent":"a"}`, `{"verb":"clear","agent":"../a"}`, `{}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var o local.Order
		if json.Unmarshal(data, &o) != nil || o.Validate() != nil {
			return
		}
		if !meta.ValidName(o.Agent) || len(o.Reason) > 1000 || len(o.By) > 100 || o.Verb == "" {
			t.Fatalf("%s is valid: %+v", data, o)
		}
	})
}
