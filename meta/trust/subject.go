package trust

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// Subject is what the signed bytes are: one of [Release], [Config], [Reply] and
// [List].
type Subject struct {
	kind                     string
	name, version, arch, cfg string
	epoch                    int64
}

// The kinds of subjects, by the field that only they have.
const (
	kindRelease = "version"
	kindConfig  = "config"
	kindReply   = "reply"
	kindList    = "keylist"
)

// Release is the tarball of a release for one arch, {GOOS}_{GOARCH}.
func Release(name, version, arch string) Subject {
	return Subject{kind: kindRelease, name: name, version: version, arch: arch}
}

// Config is an agent's remote configuration, by the name of the file that it is placed as.
func Config(name, file string) Subject { return Subject{kind: kindConfig, name: name, cfg: file} }

// Reply is a heartbeat's reply. For whom and of when it is stands in its body.
func Reply() Subject { return Subject{kind: kindReply} }

// List is a list of keys of that epoch.
func List(epoch int64) Subject { return Subject{kind: kindList, epoch: epoch} }

// IsRelease reports whether s is a release, and of what.
func (s Subject) IsRelease() (name, version, arch string, ok bool) {
	return s.name, s.version, s.arch, s.kind == kindRelease
}

// IsConfig reports whether s is a remote configuration, and of what.
func (s Subject) IsConfig() (name, file string, ok bool) {
	return s.name, s.cfg, s.kind == kindConfig
}

func (s Subject) comment() string {
	switch s.kind {
	case kindRelease:
		return fmt.Sprintf("name=%s version=%s arch=%s", s.name, s.version, s.arch)
	case kindConfig:
		return fmt.Sprintf("name=%s config=%s", s.name, s.cfg)
	case kindReply:
		return "reply=1"
	default:
		return "keylist=" + strconv.FormatInt(s.epoch, 10)
	}
}

// String names the subject in a sentence.
func (s Subject) String() string {
	switch s.kind {
	case kindRelease:
		return fmt.Sprintf("%s %s for %s", s.name, s.version, s.arch)
	case kindConfig:
		return fmt.Sprintf("%s of %s", s.cfg, s.name)
	case kindReply:
		return "a reply"
	default:
		return fmt.Sprintf("the list of keys of epoch %d", s.epoch)
	}
}

// Comment is the trusted comment of a signature of s: what `minisign -S -t` is given.
func (s Subject) Comment() string { return s.comment() }

// parseSubject reads a trusted comment.
func parseSubject(comment string) (Subject, error) {
	fields := map[string]string{}
	for word := range strings.FieldsSeq(comment) {
		field, value, found := strings.Cut(word, "=")
		if !found {
			continue
		}
		if _, twice := fields[field]; twice {
			return Subject{}, refuse(OtherSubject, "its trusted comment has %s= twice", printable.Clip(field))
		}
		fields[field] = value
	}
	var found []Subject
	if fields["version"] != "" || fields["arch"] != "" {
		found = append(found, Release(fields["name"], fields["version"], fields["arch"]))
	}
	if fields["config"] != "" {
		found = append(found, Config(fields["name"], fields["config"]))
	}
	if fields["reply"] != "" {
		if fields["reply"] != "1" {
			return Subject{}, refuse(OtherSubject, "its trusted comment is of a later kind of reply")
		}
		found = append(found, Reply())
	}
	if fields["keylist"] != "" {
		epoch, err := strconv.ParseInt(fields["keylist"], 10, 64)
		if err != nil || epoch < 0 {
			return Subject{}, refuse(OtherSubject, "its trusted comment has no epoch for a list of keys: %q", printable.Clip(fields["keylist"]))
		}
		found = append(found, List(epoch))
	}
	switch {
	case len(found) == 0:
		return Subject{}, refuse(OtherSubject, "its trusted comment %q does not say what was signed: want name=NAME version=VERSION arch=ARCH (minisign -S -t …)", printable.Clip(comment))
	case len(found) > 1:
		return Subject{}, refuse(OtherSubject, "its trusted comment %q is of two kinds at once", printable.Clip(comment))
	}
	if s := found[0]; s.kind == kindRelease && (s.name == "" || s.version == "" || s.arch == "") || s.kind == kindConfig && s.name == "" {
		return Subject{}, refuse(OtherSubject, "its trusted comment %q lacks name=, version= or arch=", printable.Clip(comment))
	}
	return found[0], nil
}
