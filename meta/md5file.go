package meta

import (
	"errors"
	"fmt"
	"strings"
)

// PageIn recognises a page for people where a file is wanted, or nothing.
func PageIn(b []byte) string {
	text := strings.ToLower(string(b[:min(len(b), 512)]))
	text = strings.TrimLeft(strings.TrimPrefix(text, "\ufeff"), " \t\r\n")
	if !strings.HasPrefix(text, "<") {
		return ""
	}
	title := ""
	if _, after, ok := strings.Cut(string(b), "<title>"); ok {
		title, _, _ = strings.Cut(after, "</title>")
		title = fmt.Sprintf(" (%.80q)", strings.TrimSpace(title))
	}
	return "it is a page for people" + title + " and no file: a login page or a portal on the way answers in place of the server; check the address and the proxy"
}

// ParseMD5File reads md5sum's format: the first field is the digest. A leading
// backslash says that the file's name, which does not matter here, is escaped.
func ParseMD5File(b []byte) (string, error) {
	fields := strings.Fields(string(b))
	if len(fields) == 0 {
		return "", errors.New("the file is empty, and md5sum's format is wanted")
	}
	md5 := strings.ToLower(strings.TrimPrefix(fields[0], `\`))
	if page := PageIn(b); page != "" {
		return "", errors.New(page)
	}
	if !isHex(md5, 32) {
		return "", fmt.Errorf("its first field %.40q is not an md5 digest", fields[0])
	}
	return md5, nil
}
