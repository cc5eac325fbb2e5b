package store

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// A host's row holds it in a compact encoding: a version byte, then fields in
// a fixed order; text and lists have their length before them, numbers are
// varints. Loading a million hosts is mostly decoding, and this is ten times
// faster than JSON. New fields go to the end of a host or an agent under a new
// version number; the decoder knows all versions.
const hostEncoding = 4

var errHostEncoding = errors.New("host is not encoded as this ops-meta knows")

// What is computed when it is asked for (wanted version, silence, rollout) is
// not stored; neither are names and times that have columns.
func encodeHost(b []byte, h api.Host) []byte {
	b = append(b, hostEncoding)
	b = putText(b, h.IP, h.Arch, h.RunUser, h.UpdaterVersion, h.BootID, h.Dialect)
	b = binary.AppendVarint(b, h.BootTime)
	b = binary.AppendVarint(b, toMicros(h.FirstSeen))
	b = binary.AppendUvarint(b, uint64(len(h.Labels)))
	// Sorted, so that the same host is the same row.
	for _, key := range slices.Sorted(maps.Keys(h.Labels)) {
		b = putText(b, key, h.Labels[key])
	}
	b = binary.AppendUvarint(b, uint64(len(h.Problems)))
	b = putText(b, h.Problems...)
	b = binary.AppendUvarint(b, uint64(len(h.Agents)))
	for _, a := range h.Agents {
		b = encodeAgent(b, a)
	}
	b = binary.AppendVarint(binary.AppendVarint(b, int64(h.Protocol)), int64(h.Pace)) // since 2
	return encodeTrust(b, h.Trust)                                                    // since 4
}

// encodeTrust writes what a host verifies, after a word that is empty for one that
// says nothing.
func encodeTrust(b []byte, t *meta.TrustReport) []byte {
	if t == nil {
		return putText(b, "")
	}
	b = putText(b, "trust", string(t.Releases), string(t.Configs), string(t.Desired))
	b = putText(b, strings.Join(t.Keys, " "), strings.Join(t.Servers, " "), strings.Join(t.Roots, " "))
	b = putText(binary.AppendVarint(b, t.Epoch), t.Refused, t.Reason)
	return binary.AppendVarint(b, t.Since)
}

const (
	flagHeld = 1 << iota
	flagOrphaned
)

func encodeAgent(b []byte, a api.HostAgent) []byte {
	b = putText(b, a.Name, a.Version, a.Status, string(a.Phase), a.PreviousVersion, a.Error, a.RunUser, a.WorkDir, a.HoldReason)
	b = binary.AppendVarint(b, a.Since)
	b = binary.AppendUvarint(b, math.Float64bits(a.Progress))
	var flags uint64
	if a.Held {
		flags |= flagHeld
	}
	if a.Orphaned {
		flags |= flagOrphaned
	}
	return putText(binary.AppendUvarint(b, flags), a.Reason) // since 3
}

func putText(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// decodeHost fills h, which is empty but for room in its lists and maps, from
// its row. All text of a host is cut from one string.
func decodeHost(doc string, h *api.Host) error {
	if len(doc) == 0 || doc[0] < 1 || doc[0] > hostEncoding {
		return errHostEncoding
	}
	d := hostDecoder{rest: doc[1:]}
	d.readTexts(&h.IP, &h.Arch, &h.RunUser, &h.UpdaterVersion, &h.BootID, &h.Dialect)
	h.BootTime = d.readNumber()
	h.FirstSeen = fromMicros(d.readNumber())
	if n := d.readLength(2); n > 0 {
		if h.Labels == nil {
			h.Labels = make(map[string]string, n)
		}
		for range n {
			key := d.readText()
			h.Labels[key] = d.readText()
		}
	}
	n := d.readLength(1)
	for range n {
		h.Problems = append(h.Problems, d.readText())
	}
	// An agent has nine lengths and three numbers in the oldest encoding, of a byte
	// each at least.
	n = d.readLength(12)
	// One list for all hosts of a reading, see StoredHost.Decode.
	if h.Agents == nil || cap(h.Agents) < n {
		h.Agents = make([]api.HostAgent, n)
	}
	h.Agents = h.Agents[:n]
	for i := range h.Agents {
		d.readAgent(doc[0], &h.Agents[i])
	}
	if doc[0] >= 2 {
		h.Protocol, h.Pace = int(d.readNumber()), int(d.readNumber())
	}
	if doc[0] >= 4 && d.readText() != "" {
		h.Trust = d.readTrust()
	}
	// Asked once, at the end: every step of a broken row is harmless, see hostDecoder.
	if d.bad {
		return errHostEncoding
	}
	return nil
}

// hostDecoder cuts fields off a string. After something that can't be, bad is
// set and everything is empty.
type hostDecoder struct {
	rest string
	bad  bool
}

func (d *hostDecoder) readAgent(encoding byte, a *api.HostAgent) {
	*a = api.HostAgent{}
	d.readTexts(&a.Name, &a.Version, &a.Status, (*string)(&a.Phase), &a.PreviousVersion, &a.Error, &a.RunUser, &a.WorkDir, &a.HoldReason)
	a.Since = d.readNumber()
	a.Progress = math.Float64frombits(d.readUnsigned())
	flags := d.readUnsigned()
	a.Held, a.Orphaned = flags&flagHeld != 0, flags&flagOrphaned != 0
	if encoding >= 3 {
		a.Reason = d.readText()
	}
}

func (d *hostDecoder) readTrust() *meta.TrustReport {
	var t meta.TrustReport
	var keys, servers, roots string
	d.readTexts((*string)(&t.Releases), (*string)(&t.Configs), (*string)(&t.Desired), &keys, &servers, &roots)
	t.Keys, t.Servers, t.Roots = strings.Fields(keys), strings.Fields(servers), strings.Fields(roots)
	t.Epoch = d.readNumber()
	d.readTexts(&t.Refused, &t.Reason)
	t.Since = d.readNumber()
	return &t
}

func (d *hostDecoder) readTexts(into ...*string) {
	for _, s := range into {
		*s = d.readText()
	}
}

func (d *hostDecoder) readText() string {
	n := d.readLength(1)
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

// readLength reads a number of things that take at least size bytes each, so that
// a broken row can't ask for the machine's memory.
func (d *hostDecoder) readLength(size int) int {
	n := d.readUnsigned()
	if n > uint64(len(d.rest)/size) {
		d.bad, d.rest = true, ""
		return 0
	}
	return int(n)
}

func (d *hostDecoder) readUnsigned() (n uint64) {
	for shift := 0; shift < 64; shift += 7 {
		if len(d.rest) == 0 {
			break
		}
		c := d.rest[0]
		d.rest = d.rest[1:]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n
		}
	}
	d.bad, d.rest = true, ""
	return 0
}

func (d *hostDecoder) readNumber() int64 {
	n := d.readUnsigned()
	return int64(n>>1) ^ -int64(n&1)
}
