package meta

import "github.com/hashicorp/go-version"

// Order is how one version relates to another.
type Order int

// The orders. Versions that go-version cannot read are only equal or
// different, never older or newer.
const (
	Different Order = iota
	Older
	Equal
	Newer
)

// CompareVersions tells how a relates to b: Older means a comes before b.
// Versions are equal only when they are the same string, because they name
// directories; two spellings of one version are Different.
func CompareVersions(a, b string) Order {
	if a == b {
		return Equal
	}
	va, errA := version.NewVersion(a)
	vb, errB := version.NewVersion(b)
	if errA != nil || errB != nil {
		return Different
	}
	switch c := va.Compare(vb); {
	case c < 0:
		return Older
	case c > 0:
		return Newer
	}
	return Different
}
