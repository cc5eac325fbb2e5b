package exposition_test

import (
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/exposition"
)

func TestFamiliesAreTogetherAndTyped(t *testing.T) {
	var out strings.Builder
	err := exposition.Write(&out, []exposition.Family{
		{Name: "a_seconds", Type: exposition.Histogram, Help: "How long."},
		{Name: "b_total", Type: exposition.Counter, Help: "How many."},
		{Name: "c", Type: exposition.Gauge, Help: "None here."},
	}, []byte("b_total{x=\"1\"} 1\na_seconds_bucket{le=\"+Inf\"} 1\nother 1\nb_total{x=\"2\"} 2\na_seconds_sum 1\na_seconds_count 1\n\n"))
	want := `# HELP a_seconds How long.
# TYPE a_seconds histogram
a_seconds_bucket{le="+Inf"} 1
a_seconds_sum 1
a_seconds_count 1
# HELP b_total How many.
# TYPE b_total counter
b_total{x="1"} 1
b_total{x="2"} 2
`
	if err != nil || out.String() != want {
		t.Errorf("got %v\n%s", err, out.String())
	}
}

func TestLabelsAreEscaped(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"1.0", `{v="1.0"}`},
		{`a"b\c`, `{v="a\"b\\c"}`},
		{"a\nb\u202ec", "{v=\"a b\ufffdc\"}"},
		{strings.Repeat("ü", 200), `{v="` + strings.Repeat("ü", 100) + `"}`},
	} {
		if got := exposition.Labels("v", c.value); got != c.want {
			t.Errorf("%q: got %s, want %s", c.value, got, c.want)
		}
	}
	if got := exposition.Labels("a", "1", "b", "2") + exposition.Labels(); got != `{a="1",b="2"}` {
		t.Errorf("got %s", got)
	}
}
