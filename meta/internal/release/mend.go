package release

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/ops-updater/ops-updater/internal/unpack"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/api"
)

// headBytes of what arrives tell what it is when it is no gzip.
const headBytes = 264

// shownBytes of it are shown of what is nothing that is known.
const shownBytes = 20

// formats are what build systems pack besides gzipped tar, by how they begin
// at an offset, with the command that makes a gzipped tar of them.
var formats = []struct {
	at    int
	magic string
	name  string
	mend  string // %[1]s: the file, %[2]s: the agent
}{
	{0, "\xfd7zXZ\x00", "compressed by xz", "xz -dc <%[1]s | gzip >%[1]s.new && mv %[1]s.new %[1]s"},
	{0, "\x28\xb5\x2f\xfd", "compressed by zstd", "zstd -dc <%[1]s | gzip >%[1]s.new && mv %[1]s.new %[1]s"},
	{0, "BZh", "compressed by bzip2", "bzip2 -dc <%[1]s | gzip >%[1]s.new && mv %[1]s.new %[1]s"},
	{0, "PK\x03\x04", "a zip archive", "mkdir %[2]s && unzip -d %[2]s %[1]s && chmod +x %[2]s/control && tar -C %[2]s -czf %[1]s ."},
	{257, "ustar", "a tar that is not compressed", "gzip <%[1]s >%[1]s.new && mv %[1]s.new %[1]s"},
	{0, "<", "a page and no archive: anyone who fetched it may have been sent to a login", ""},
}

// repack unpacks a tarball, mends what is in it and packs it again.
const repack = "mkdir %[2]s && tar -C %[2]s -xzf %[1]s && %[3]s && tar -C %[2]s -czf %[1]s ."

// repairs are the commands that mend what lies in a tarball, by why it is
// refused.
var repairs = map[unpack.Reason]string{
	unpack.SpecialBits:   "chmod -R u-s,g-s,-t %[2]s",
	unpack.SpecialFile:   "find %[2]s ! -type f ! -type d ! -type l -delete",
	unpack.Duplicate:     "true",
	unpack.Sparse:        "true",
	unpack.BelowFile:     "true",
	unpack.CaseCollision: renameSecond,
}

// renameSecond gives the second of the names that differ only by case the
// ending .2, and so on. What lies in a directory that was renamed is not where
// the list has it any more, and keeps its name.
const renameSecond = `(cd %[2]s && find . | sort | LC_ALL=C.UTF-8 sed 'p; s/.*/\L&/' | awk 'NR % 2 {f = $0; next} n[$0]++ {print n[$0], f}' | ` +
	`while read -r n f; do [ ! -e "$f" ] || mv "$f" "$f.$n"; done)`

// repackRest is repack of what tar can unpack: it leaves out what leads
// elsewhere.
const repackRest = "mkdir %[2]s; tar -C %[2]s -xzf %[1]s; %[3]s; tar -C %[2]s -czf %[1]s ."

// withoutBadPart is the command that mends an archive by leaving out what
// leads out of it or nowhere; empty when that does not help.
func withoutBadPart(file, dir string, bad *unpack.Error) string {
	var drop string
	switch {
	case bad.Reason == unpack.LinkEscapes && strings.HasPrefix(bad.Detail, "the link leads to"): // all absolute ones
		drop = "find " + dir + " -type l -lname '/*' -delete"
	case bad.Reason == unpack.LinkEscapes:
		drop = "rm -f " + shellQuoted(dir+"/"+bad.Path)
	case bad.Reason == unpack.BadLink:
		drop = "find " + dir + ` -type l ! -exec test -e {} \; -delete`
	case bad.Reason == unpack.BadPath && (strings.Contains(bad.Detail, "not relative") || strings.Contains(bad.Detail, "..")):
		drop = "true"
	default:
		return ""
	}
	return fmt.Sprintf(repackRest, file, dir, drop)
}

func shellQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// topLevel is what is remembered of a tarball's content to say how it is mended.
type topLevel struct {
	names map[string]bool // first components, a few of them
	holds string          // the directory at the root that holds a control
}

// noteEntry notes where an entry lies.
func (t *topLevel) noteEntry(path string) {
	top, rest, _ := strings.Cut(path, "/")
	if t.names == nil {
		t.names = map[string]bool{}
	}
	if len(t.names) < 3 {
		t.names[top] = true
	}
	if rest == unpack.ControlName && t.holds == "" {
		t.holds = top
	}
}

// explainRefusal is what is wrong with a tarball, with the command that mends it.
func explainRefusal(d Declared, head []byte, top topLevel, bad *unpack.Error) *api.Error {
	file, agent := meta.TarballName(d.Agent, d.Version), d.Agent
	if bad.Reason == unpack.Corrupt && !bytes.HasPrefix(head, []byte("\x1f\x8b")) {
		for _, f := range formats {
			if len(head) >= f.at+len(f.magic) && string(head[f.at:f.at+len(f.magic)]) == f.magic {
				hint := hints[unpack.Corrupt]
				if f.mend != "" {
					hint = fmt.Sprintf(f.mend, file, agent)
				}
				return invalidField("tarball", hint, "archive refused: %s is %s, and a release is a gzipped tar", file, f.name)
			}
		}
		return invalidField("tarball", hints[unpack.Corrupt], "archive refused: %s is not gzip: it begins with %q, and a release is a gzipped tar", file, head[:min(len(head), shownBytes)])
	}
	hint := hints[bad.Reason]
	if rest := withoutBadPart(file, agent, bad); rest != "" {
		hint = rest
	}
	switch {
	case bad.Reason == unpack.NoControl && top.holds != "":
		hint = fmt.Sprintf("tar -xzf %[1]s && tar -C %[2]s -czf %[1]s .", file, top.holds)
	case bad.Reason == unpack.BadControl && strings.Contains(bad.Detail, "execute bit"):
		hint = fmt.Sprintf(repack, file, agent, "chmod +x "+agent+"/control")
	case bad.Reason == unpack.BadControl && strings.Contains(bad.Detail, "CRLF"):
		hint = fmt.Sprintf(repack, file, agent, `sed -i 's/\r$//' `+agent+"/control")
	case bad.Reason == unpack.BadControl && strings.Contains(bad.Detail, "interpreter line such as"):
		hint = fmt.Sprintf(repack, file, agent, `sed -i '1s/^\xef\xbb\xbf//; 1{/^#!/!s|^|#!/bin/sh\n|}' `+agent+"/control")
	case bad.Reason == unpack.TrailingData:
		hint = fmt.Sprintf("gzip -dc <%[1]s 2>/dev/null | gzip >%[1]s.new; mv %[1]s.new %[1]s", file)
	case repairs[bad.Reason] != "":
		hint = fmt.Sprintf(repack, file, agent, strings.ReplaceAll(repairs[bad.Reason], "%[2]s", agent))
	}
	return invalidField("tarball", hint, "%v", bad)
}
