package jsonbound_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/ops-updater/ops-updater/internal/jsonbound"
)

// FuzzCheck: for a text that is JSON the bounds are those that it really has.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{}`, `[[[[1]]]]`, `{"a":{"b":[1,2,{"c":"[[[\"{"}]}}`, `"\\"`, `[1,2,3,4,5]`, `{"a":`} {
		f.Add([]byte(s), 3, 6)
	}
	f.Fuzz(func(t *testing.T, text []byte, depth, items int) {
		limits := jsonbound.Limits{Depth: depth%50 + 1, Items: items%200 + 1}
		if depth < 0 || items < 0 {
			limits = jsonbound.Limits{}
		}
		err := jsonbound.Check(text, limits)
		var excess *jsonbound.Excess
		if err != nil && !errors.As(err, &excess) {
			t.Fatalf("%q: %v", text, err)
		}
		var value any
		if json.Unmarshal(text, &value) != nil {
			return
		}
		d, n := measure(value)
		// Members that repeat a name are counted, and decoded into one.
		tooDeep, tooMany := limits.Depth > 0 && d > limits.Depth, limits.Items > 0 && n > limits.Items
		if (tooDeep || tooMany) && err == nil {
			t.Fatalf("%q has depth %d and at least %d items, and passed %+v", text, d, n, limits)
		}
	})
}

// measure is the depth of a value and the least that counts as its items.
func measure(value any) (depth, items int) {
	each := func(v any) {
		d, n := measure(v)
		depth, items = max(depth, d), items+n
	}
	switch v := value.(type) {
	case map[string]any:
		for _, inner := range v {
			each(inner)
		}
		return depth + 1, items + max(len(v), 1)
	case []any:
		for _, inner := range v {
			each(inner)
		}
		return depth + 1, items + max(len(v), 1)
	}
	return 0, 0
}
