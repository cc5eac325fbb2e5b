package fleet

import (
	"bytes"

	"github.com/cespare/xxhash/v2"

	"github.com/ops-updater/ops-updater/meta"
)

var (
	hostnameKey  = []byte(`{"hostname":"`)
	timestampKey = []byte(`"timestamp":`)
)

// Hostname finds the host name in a report as all known clients write it:
// the first key, without escapes. Anything else takes the ordinary way.
func Hostname(body []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(body, hostnameKey)
	if !ok {
		return nil, false
	}
	end := bytes.IndexByte(rest, '"')
	if end <= 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return nil, false
	}
	return rest[:end], true
}

// skeletonOf is the digest of a report without its timestamps, and the newest
// of them. The bytes "timestamp": cannot occur inside a JSON string, whose
// quotes are escaped, so two bodies of one digest differ in nothing but the
// digits after such a key. What a skeleton was made of was decoded and
// checked once; its repetitions need not be.
func skeletonOf(b Beat) (sum uint64, newest int64) {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(b.Remote)
	if b.Dialect == meta.DialectLegacy {
		_, _ = d.WriteString("\x01")
	}
	rest := b.Body
	for {
		i := bytes.Index(rest, timestampKey)
		if i < 0 {
			_, _ = d.Write(rest)
			return max(d.Sum64(), 1), newest
		}
		i += len(timestampKey)
		_, _ = d.Write(rest[:i])
		rest = rest[i:]
		var t int64
		for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
			t = t*10 + int64(rest[0]-'0')
			rest = rest[1:]
		}
		newest = max(newest, t)
	}
}
