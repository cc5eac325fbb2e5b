package unpack

import (
	"context"
	"path"
	"strings"

	"github.com/ops-updater/ops-updater/internal/printable"
)

const (
	// maxHops is how many links one path may lead through, as in the kernel.
	maxHops = 40
	// stepsPerFile is how many components the targets of all links may have
	// for each file that is allowed: a real tree has about four in a link.
	stepsPerFile = 20
	// lookUp is after how many components the context is asked.
	lookUp = 4096
)

// checkLinks follows every symbolic link through the whole tree as the kernel
// would. A target that does not exist (yet) is fine as long as it is inside.
// Each link is followed once, however many lead through it.
func (t *tree) checkLinks(ctx context.Context) error {
	f := follower{tree: t, ctx: ctx, ends: make(map[string]end, len(t.links)), steps: stepsPerFile * t.limits.MaxFiles}
	for _, key := range t.links {
		if _, err := f.followLink(key, 0); err != nil {
			return err
		}
	}
	return nil
}

// end is where a link leads.
type end struct {
	at   string // "" is the root
	hops int    // links on the way, itself included; 0: it is being followed
}

// follower remembers where links lead.
type follower struct {
	tree  *tree
	ctx   context.Context
	ends  map[string]end
	steps int // that are left
}

// followLink finds where the link of a key leads, walking its target's components
// one by one.
func (f *follower) followLink(key string, depth int) (end, error) {
	link := f.tree.nodes[key]
	e, known := f.ends[key]
	switch {
	case known && e.hops > 0:
		return e, nil
	case known || depth >= maxHops:
		return end{}, refuseEntry(BadLink, link.path, "the link leads through more than %d links", maxHops)
	}
	f.ends[key] = end{}
	e = end{at: parentOf(link.path), hops: 1}
	for part := range strings.SplitSeq(link.target, "/") {
		if err := f.countStep(link); err != nil {
			return end{}, err
		}
		if err := f.walkPart(&e, link, part, depth); err != nil {
			return end{}, err
		}
	}
	f.ends[key] = e
	return e, nil
}

// countStep counts one component.
func (f *follower) countStep(link node) error {
	if f.steps--; f.steps < 0 {
		return refuseEntry(BadLink, link.path, "the links of the archive are too many and too long to be followed")
	}
	if f.steps%lookUp == 0 {
		return f.ctx.Err()
	}
	return nil
}

// walkPart goes one component on.
func (f *follower) walkPart(e *end, link node, part string, depth int) error {
	switch part {
	case "", ".":
		return nil
	case "..":
		if e.at == "" {
			return refuseEntry(LinkEscapes, link.path, "the link to %q leaves the tree", printable.ClipTo(link.target, maxQuoted))
		}
		e.at = parentOf(e.at)
		return nil
	}
	next := part
	if e.at != "" {
		next = e.at + "/" + part
	}
	if len(next) > 2*f.tree.limits.MaxPath {
		return refuseEntry(BadLink, link.path, "the link leads to a path of more than %d bytes", 2*f.tree.limits.MaxPath)
	}
	key := foldCase(next)
	if n, ok := f.tree.nodes[key]; !ok || n.kind != Symlink {
		e.at = next
		return nil
	}
	through, err := f.followLink(key, depth+1)
	if err != nil {
		return err
	}
	if e.hops += through.hops; e.hops > maxHops {
		return refuseEntry(BadLink, link.path, "the link leads through more than %d links", maxHops)
	}
	e.at = through.at
	return nil
}

func parentOf(p string) string {
	if dir := path.Dir(p); dir != "." {
		return dir
	}
	return ""
}
