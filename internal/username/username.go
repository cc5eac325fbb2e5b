// Package username knows what the name of a user of a host may look like.
package username

import "regexp"

// rule is what useradd(8) of Debian and Red Hat takes, capitals and dots
// included, with the $ of Samba's machine accounts. What it leaves out would
// need quoting somewhere.
var rule = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9._-]*\$?$`)

// maxLen is in bytes, the $ included.
const maxLen = 64

// Valid reports whether a user can have that name.
func Valid(name string) bool { return len(name) <= maxLen && rule.MatchString(name) }
