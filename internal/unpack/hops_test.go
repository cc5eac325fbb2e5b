package unpack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/internal/unpack"
)

// linked is an archive of links alone, from name to target.
func linked(t *testing.T, links [][2]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, l := range links {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: l[0], Linkname: l[1], Mode: 0o777}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func chain(length, fan int, target func(next string) string) (links [][2]string) {
	for i := range length {
		links = append(links, [2]string{fmt.Sprintf("l%d", i), target(fmt.Sprintf("l%d", i+1))})
	}
	for i := range fan {
		links = append(links, [2]string{fmt.Sprintf("f%d", i), target("l0")})
	}
	return links
}

func TestChainedLinksCostLittle(t *testing.T) {
	again := func(next string) string { return strings.TrimSuffix(strings.Repeat(next+"/", 200), "/") }
	cases := []struct {
		name  string
		links [][2]string
		want  unpack.Reason
	}{
		{"as long as the kernel follows", chain(39, 1000, func(next string) string { return next }), ""},
		{"longer", chain(41, 0, func(next string) string { return next }), unpack.BadLink},
		{"a circle", [][2]string{{"a", "b"}, {"b", "a"}}, unpack.BadLink},
		{"itself", [][2]string{{"a", "a/x"}}, unpack.BadLink},
		{"each through the next many times", chain(30, 1000, again), unpack.BadLink},
		{"through many levels", chain(38, 1000, func(next string) string { return next + strings.Repeat("/d/..", 150) }), ""},
		{"out of the tree at the end of a chain", append(chain(5, 10, func(next string) string { return next }), [2]string{"l5", "../x"}), unpack.LinkEscapes},
		{"deeper than a path can be", chain(8, 0, func(next string) string { return next + strings.Repeat("/"+strings.Repeat("d", 200), 4) }), unpack.BadLink},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			archive := linked(t, c.links)
			begun := time.Now()
			_, err := unpack.Stream(t.Context(), bytes.NewReader(archive), unpack.DefaultLimits(), func(unpack.Entry) error { return nil })
			var refused *unpack.Error
			if errors.As(err, &refused) != (c.want != "") || refused != nil && refused.Reason != c.want || refused == nil && err != nil {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("%d bytes took %v", len(archive), took)
			}
		})
	}
}

// The steps of all links together are bounded, and a caller that stopped waiting
// stops them.
func TestManyLongLinksAreGivenUp(t *testing.T) {
	var links [][2]string
	for i := range 20_000 {
		links = append(links, [2]string{fmt.Sprintf("l%d", i), strings.Repeat("d/../", 200) + "x"})
	}
	archive := linked(t, links)
	limits := unpack.DefaultLimits()
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	_, err := unpack.Stream(ctx, bytes.NewReader(archive), limits, func(unpack.Entry) error {
		if seen++; seen == len(links) {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after it was cancelled: %v", err)
	}
	var refused *unpack.Error
	_, err = unpack.Stream(t.Context(), bytes.NewReader(archive), limits, func(unpack.Entry) error { return nil })
	if !errors.As(err, &refused) || refused.Reason != unpack.BadLink {
		t.Errorf("got %v, want a refusal", err)
	}
}
