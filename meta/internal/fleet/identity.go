package fleet

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/ops-updater/ops-updater/meta/api"
)

// conflict is a second host under one name.
type conflict struct {
	identity uint64 // of the second
	address  string
	since    uint32 // Unix seconds, as seen
	seen     uint32
}

// who is the result of telling hosts apart.
type who bool

const (
	same   who = false // the host that is known
	second who = true  // another one under its name
)

// identity tells a host from another of its name: its boot id, else its
// address. 0 when it has neither.
func (h *host) identity() uint64 { return identityOf(h.bootID(), h.ipText()) }

func identityOf(boot, address string) uint64 {
	if boot == "" && address == "" {
		return 0
	}
	if boot == "" {
		return xxhash.Sum64String("address " + address)
	}
	return xxhash.Sum64String("boot " + boot)
}

// judgeIdentity decides whether a report is from the host that is known. A new
// identity is a reboot or a new address, until the previous one returns
// within the window: then there are two, and the one that was there first
// stays the known one. A boot older than the known one is a second host at
// once. The host that is left when the other fell silent is the known one.
func (h *host) judgeIdentity(in intake, log *timeline) who {
	req := in.report.Request
	address := cmp.Or(req.IP, in.report.Remote)
	id, now := identityOf(req.BootID, address), clampSeconds(in.now.Unix())
	window := uint32(in.window / time.Second)
	known := h.identity()
	h.endConflict(now, window, log)
	switch {
	case id == 0 || known == 0 || id == known:
		return same
	case h.rare != nil && h.rare.conflict != nil:
		if now-h.seen > window {
			h.takeOver(log)
			return same
		}
		h.rare.conflict.identity, h.rare.conflict.seen, h.rare.conflict.address = id, now, address
		return second
	case id == h.previous && now-h.left <= window:
		h.beginConflict(&conflict{identity: known, address: h.ipText(), since: now, seen: h.seen}, log)
		h.previous = 0
		return same
	case req.BootID != "" && h.bootID() != "" && req.BootTime != 0 && clampSeconds(req.BootTime)+5 < h.bootTime:
		h.beginConflict(&conflict{identity: id, address: address, since: now, seen: now}, log)
		return second
	}
	h.previous, h.left = known, h.seen
	if req.BootID != "" && h.bootID() != "" {
		log.addEvent(api.Event{Kind: api.EventHost, Message: "rebooted"})
	}
	return same
}

func (h *host) beginConflict(c *conflict, log *timeline) {
	h.rarePart().conflict = c
	log.addEvent(api.Event{Kind: api.EventConflict, From: h.ipText(), To: c.address, Message: "two hosts report under this name; the second one's reports are not merged"})
}

// endConflict ends a conflict whose second host is silent.
func (h *host) endConflict(now, window uint32, log *timeline) {
	if h.rare != nil && h.rare.conflict != nil && now-h.rare.conflict.seen > window {
		h.rare.conflict = nil
		log.addEvent(api.Event{Kind: api.EventConflict, Message: "only one host reports under this name again"})
	}
}

// takeOver makes the second host the known one, the first being silent.
func (h *host) takeOver(log *timeline) {
	h.rare.conflict = nil
	h.previous = 0
	log.addEvent(api.Event{Kind: api.EventConflict, Message: "the first host under this name is silent; the second one took it over"})
}

// listProblems is what is wrong with a host beyond its agents.
func (h *host) listProblems() []string {
	var out []string
	if h.has(isSkewed) {
		out = append(out, "its clock is off by more than it may be: its timestamps are not near this server's time")
	}
	if h.has(isDoubted) {
		out = append(out, "it reports what this server does not know of, and the database cannot be asked whether another server told it so: it is told to stay as it is")
	}
	if h.rare == nil {
		return out
	}
	if c := h.rare.conflict; c != nil {
		out = append(out, fmt.Sprintf("two hosts report under this name: %s and %s; the second one's reports are not merged", cmp.Or(h.ipText(), "?"), cmp.Or(c.address, "?")))
	}
	if why := h.rare.refusal; why.reason != "" {
		out = append(out, fmt.Sprintf("it does not believe this server's replies since %s: %s (%s)", time.Unix(why.since, 0).UTC().Format(time.RFC3339), why.text, why.reason))
	}
	if h.rare.renamed != "" {
		out = append(out, h.rare.renamed)
	}
	return append(out, h.rare.problems...)
}

// bootIndex finds the host that a boot id was last seen on, to tell when one
// comes back under a new name.
type bootIndex struct {
	mu    sync.Mutex
	hosts map[uint64]bootEntry
}

type bootEntry struct {
	host  *host  // only its name, which never changes, may be read
	first uint32 // when the host was first heard
}

func (b *bootIndex) noteHost(h *host) {
	id := bootKey(h)
	if id == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hosts == nil {
		b.hosts = make(map[uint64]bootEntry)
	}
	if old, ok := b.hosts[id]; !ok || old.first <= h.first {
		b.hosts[id] = bootEntry{h, h.first}
	}
}

func (b *bootIndex) dropHost(h *host) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if id := bootKey(h); b.hosts[id].host == h {
		delete(b.hosts, id)
	}
}

// successorOf names a host of the same boot that was first heard after h was
// last heard: h under its new name. Containers share their machine's boot
// id, but report side by side.
func (b *bootIndex) successorOf(h *host) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.hosts[bootKey(h)]
	if !ok || e.host == h || e.first < h.seen {
		return ""
	}
	return e.host.name
}

func bootKey(h *host) uint64 {
	switch {
	case h.has(hasBoot):
		return xxhash.Sum64(h.boot[:])
	case h.rare != nil && h.rare.bootID != "":
		return xxhash.Sum64String(h.rare.bootID)
	}
	return 0
}
