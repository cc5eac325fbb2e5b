package unpack

import (
	"path"
	"strings"
)

// maxHops is how many links one path may lead through, as in the kernel.
const maxHops = 40

// checkLinks follows every symbolic link through the whole tree as the kernel
// would. A target that does not exist (yet) is fine as long as it is inside.
func (t *tree) checkLinks() error {
	for _, key := range t.links {
		link := t.nodes[key]
		if err := t.follow(link); err != nil {
			return err
		}
	}
	return nil
}

// follow walks the target's components one by one. at is where it stands, ""
// being the root; rest is what is still to walk.
func (t *tree) follow(link node) error {
	at := parentOf(link.path)
	rest := strings.Split(link.target, "/")
	for hops := 1; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			if at == "" {
				return refuse(LinkEscapes, link.path, "the link to %q leaves the tree", clip(link.target))
			}
			at = parentOf(at)
			continue
		}
		next := path.Join(at, part)
		n, ok := t.nodes[fold(next)]
		if !ok || n.kind != Symlink {
			at = next
			continue
		}
		if hops++; hops > maxHops {
			return refuse(BadLink, link.path, "the link leads through more than %d links", maxHops)
		}
		at = parentOf(n.path)
		rest = append(strings.Split(n.target, "/"), rest...)
	}
	return nil
}

func parentOf(p string) string {
	if dir := path.Dir(p); dir != "." {
		return dir
	}
	return ""
}
