package meta

import (
	"fmt"
	"strings"
)

// InWords says what a host verifies, and with which keys.
func (r TrustReport) InWords() string {
	parts := []string{
		"releases " + modeWords(r.Releases, r.Keys), "configs " + modeWords(r.Configs, nil), "replies " + modeWords(r.Desired, r.Servers),
	}
	if r.Epoch > 0 {
		parts = append(parts, fmt.Sprintf("epoch %d", r.Epoch))
	}
	switch len(r.Roots) {
	case 0:
	case 1:
		parts = append(parts, "root key "+r.Roots[0])
	default:
		parts = append(parts, "root keys "+strings.Join(r.Roots, " and "))
	}
	return strings.Join(parts, ", ")
}

// Strictest is the mode of the part that is taken most seriously.
func (r TrustReport) Strictest() TrustMode {
	for _, mode := range []TrustMode{TrustRequire, TrustWarn} {
		if r.Releases == mode || r.Configs == mode || r.Desired == mode {
			return mode
		}
	}
	return TrustOff
}

func modeWords(m TrustMode, ids []string) string {
	if m == "" || m == TrustOff {
		return string(TrustOff)
	}
	if len(ids) == 0 {
		return string(m)
	}
	return string(m) + " with " + strings.Join(ids, " or ")
}
