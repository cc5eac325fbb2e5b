package matrix

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// traced are the system calls that change a disk, or make that safe.
const traced = "openat,mkdir,mkdirat,write,pwrite64,writev,ftruncate,rename,renameat,renameat2,unlink,unlinkat,rmdir," +
	"fsync,fdatasync,syncfs,sync,fchmod,fchmodat,chmod,link,linkat,symlink,symlinkat,copy_file_range,sendfile,splice,fallocate"

// replay does to a model of a host's disk what a trace of strace says was done.
type replay struct {
	top  string // what the model is of
	root *node
	open map[string]string // pid: the beginning of a call that is unfinished
}

var (
	callLine = regexp.MustCompile(`^(\d+) +(\w+)\((.*)\) += (-?\d+)(<.*>)?(.*)$`)
	fdText   = regexp.MustCompile(`^(?:AT_FDCWD|\d+)<(.*)>$`)
)

// line takes one line of the trace.
func (r *replay) line(line string) error {
	pid, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if begun, unfinished := strings.CutSuffix(rest, "<unfinished ...>"); unfinished {
		r.open[pid] = strings.TrimRight(begun, " ")
		return nil
	}
	if strings.HasPrefix(rest, "<... ") {
		_, after, _ := strings.Cut(rest, " resumed>")
		line = pid + " " + r.open[pid] + after
	}
	m := callLine.FindStringSubmatch(line)
	if m == nil || strings.HasPrefix(m[4], "-") {
		return nil // it failed, or is about signals and ends
	}
	args := splitArgs(m[3])
	return r.call(m[2], args, m[4], strings.Trim(m[5], "<>"))
}

// splitArgs splits at commas that are in no string and no brackets.
func splitArgs(text string) (args []string) {
	depth, quoted, start := 0, false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.ContainsRune("[{<", rune(c)):
			depth++
		case strings.ContainsRune("]}>", rune(c)):
			depth--
		case c == ',' && depth == 0:
			args = append(args, strings.TrimSpace(text[start:i]))
			start = i + 1
		}
	}
	return append(args, strings.TrimSpace(text[start:]))
}

func unquote(text string) (string, error) {
	if strings.HasSuffix(text, "...") {
		return "", fmt.Errorf("the trace has only the beginning of %.60s", text)
	}
	inner, err := strconv.Unquote(octal.ReplaceAllStringFunc(text, func(o string) string {
		n, _ := strconv.ParseUint(o[1:], 8, 8)
		return fmt.Sprintf(`\x%02x`, n)
	}))
	if err != nil {
		return "", fmt.Errorf("cannot read %.60s of the trace: %w", text, err)
	}
	return inner, nil
}

var octal = regexp.MustCompile(`\\[0-7]{1,3}`)

// pathOf is the path, below the top, of a descriptor and a name beside it.
func (r *replay) pathOf(fd, name string) (string, bool) {
	path := name
	if m := fdText.FindStringSubmatch(fd); m != nil && !strings.HasPrefix(name, "/") {
		path = filepath.Join(m[1], name)
	}
	rel, ours := strings.CutPrefix(filepath.Clean(path), r.top+"/")
	if !ours || !strings.HasPrefix(rel, "disk") && !strings.HasPrefix(rel, "var") {
		return "", false
	}
	return rel, true
}

func modeOf(text string) fs.FileMode {
	n, _ := strconv.ParseUint(text, 8, 32)
	return fs.FileMode(n & 0o777)
}

func (r *replay) call(name string, args []string, result, fd string) error {
	at := func(i int) (string, bool) { // of dirfd, name
		text, err := unquote(args[i+1])
		if err != nil {
			return "", false
		}
		return r.pathOf(args[i], text)
	}
	plain := func(i int) (string, bool) {
		text, err := unquote(args[i])
		if err != nil || !filepath.IsAbs(text) {
			return "", false
		}
		return r.pathOf("", text)
	}
	own := func(i int) (*node, bool) {
		m := fdText.FindStringSubmatch(args[i])
		if m == nil {
			return nil, false
		}
		path, ours := r.pathOf("", m[1])
		if !ours {
			return nil, false
		}
		n := r.root.find(path)
		return n, n != nil
	}
	switch name {
	case "openat":
		path, ours := r.pathOf("", fd)
		if ours && strings.Contains(args[2], "O_CREAT") && r.root.find(path) == nil {
			r.put(path, newNode(modeOf(args[3])&^0o022))
		}
		if ours && strings.Contains(args[2], "O_TRUNC") {
			r.root.find(path).data = nil
		}
	case "mkdirat":
		if path, ours := at(0); ours {
			r.put(path, newNode(fs.ModeDir|modeOf(args[2])&^0o022))
		}
	case "mkdir":
		if path, ours := plain(0); ours {
			r.put(path, newNode(fs.ModeDir|modeOf(args[1])&^0o022))
		}
	case "write":
		n, ours := own(0)
		if !ours {
			return nil
		}
		text, err := unquote(args[1])
		if err != nil {
			return err
		}
		wrote, _ := strconv.Atoi(result)
		n.data = append(n.data, text[:wrote]...)
	case "pwrite64":
		n, ours := own(0)
		if !ours {
			return nil
		}
		text, err := unquote(args[1])
		if err != nil {
			return err
		}
		offset, _ := strconv.Atoi(args[3])
		if need := offset + len(text); need > len(n.data) {
			n.data = append(n.data, make([]byte, need-len(n.data))...)
		}
		copy(n.data[offset:], text)
	case "ftruncate":
		if n, ours := own(0); ours {
			size, _ := strconv.Atoi(args[1])
			n.data = append(n.data, make([]byte, max(size-len(n.data), 0))...)[:size]
		}
	case "fallocate": // room, and no content
	case "rename":
		return r.rename(plain, 0, 1, false)
	case "renameat", "renameat2":
		return r.rename(at, 0, 2, name == "renameat2" && strings.Contains(args[4], "RENAME_EXCHANGE"))
	case "unlink", "rmdir":
		if path, ours := plain(0); ours {
			r.remove(path)
		}
	case "unlinkat":
		if path, ours := at(0); ours {
			r.remove(path)
		}
	case "fsync", "fdatasync":
		if n, ours := own(0); ours {
			n.sync()
		}
	case "syncfs":
		if m := fdText.FindStringSubmatch(args[0]); m != nil {
			if path, ours := r.pathOf("", m[1]); ours {
				top, _, _ := strings.Cut(path, "/")
				r.root.find(top).syncAll()
			}
		}
	case "fchmod":
		if n, ours := own(0); ours {
			n.mode = n.mode.Type() | modeOf(args[1])
		}
	case "fchmodat":
		if path, ours := at(0); ours {
			n := r.root.find(path)
			n.mode = n.mode.Type() | modeOf(args[2])
		}
	case "chmod":
		if path, ours := plain(0); ours {
			n := r.root.find(path)
			n.mode = n.mode.Type() | modeOf(args[1])
		}
	default: // what is not modelled must not go unnoticed
		if strings.Contains(strings.Join(args, " "), r.top+"/disk") || strings.Contains(strings.Join(args, " "), r.top+"/var") {
			return fmt.Errorf("the model does not know %s(%v)", name, args)
		}
	}
	return nil
}

func (r *replay) rename(path func(int) (string, bool), from, to int, exchange bool) error {
	a, ours := path(from)
	b, too := path(to)
	if !ours || !too {
		return nil
	}
	moved := r.root.find(a)
	if moved == nil {
		return fmt.Errorf("the model has no %s to rename", a)
	}
	other := r.root.find(b)
	r.put(b, moved)
	if exchange {
		r.put(a, other)
	} else {
		r.remove(a)
	}
	return nil
}

func (r *replay) put(path string, n *node) {
	if dir := r.root.find(filepath.Dir(path)); dir != nil {
		dir.entries[filepath.Base(path)] = n
	}
}

func (r *replay) remove(path string) {
	if dir := r.root.find(filepath.Dir(path)); dir != nil {
		delete(dir.entries, filepath.Base(path))
	}
}
