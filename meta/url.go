package meta

import (
	"net/url"
	"runtime"
	"slices"
	"strings"
)

// Dialect tells the two wire forms of the field apart.
type Dialect string

// The dialects. In DialectLegacy the tarball's address has no arch and md5 is
// always a base URL.
const (
	DialectV1     Dialect = "v1"
	DialectLegacy Dialect = "legacy"
)

// Arch is this build's {GOOS}_{GOARCH}, such as linux_amd64.
func Arch() string { return runtime.GOOS + "_" + runtime.GOARCH }

// TarballName is the file name of a release, {name}-{version}.tar.gz.
func TarballName(name, version string) string { return name + "-" + version + ".tar.gz" }

// TarballURL is where a's tarball for arch is: {tarball}/{arch}/{name}-{version}.tar.gz,
// without the arch in the legacy dialect.
func (a DesiredAgent) TarballURL(d Dialect, arch string) string {
	return artifactURL(a.Tarball, d, arch, TarballName(a.Name, a.Version))
}

// TarballURLs are where a's tarball is: at [DesiredAgent.TarballURL], then at each
// mirror. None when neither is named.
func (a DesiredAgent) TarballURLs(d Dialect, arch string) []string {
	bases := a.Mirrors.List()
	if a.Tarball != "" {
		bases = append([]string{a.Tarball}, bases...)
	}
	var urls []string
	for _, base := range bases {
		if url := artifactURL(base, d, arch, TarballName(a.Name, a.Version)); !slices.Contains(urls, url) {
			urls = append(urls, url)
		}
	}
	return urls
}

// MD5URL is where the md5sum-format digest of a's tarball is, or "" when MD5
// already is the digest. An empty MD5 means beside the tarball.
func (a DesiredAgent) MD5URL(d Dialect, arch string) string {
	if d != DialectLegacy && isHex(a.MD5, 32) {
		return ""
	}
	base := a.MD5
	if base == "" {
		base = a.Tarball
	}
	return artifactURL(base, d, arch, TarballName(a.Name, a.Version)+".md5")
}

// MD5Digest is the digest itself in lower case, or "" when MD5 is an address.
func (a DesiredAgent) MD5Digest(d Dialect) string {
	if d == DialectLegacy || !isHex(a.MD5, 32) {
		return ""
	}
	return strings.ToLower(a.MD5)
}

func artifactURL(base string, d Dialect, arch, file string) string {
	base = strings.TrimRight(base, "/")
	if d == DialectLegacy {
		return base + "/" + file
	}
	return base + "/" + arch + "/" + file
}

// HostOf is the host, and the port if it is said, of an address, for people.
func HostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that is not a URL"
	}
	return u.Host
}

// ListsHost reports whether hosts list the host of an address: host:port exactly, a
// host alone with any port, *.domain every host below it. An empty list lists all.
func ListsHost(hosts []string, address string) bool {
	if len(hosts) == 0 {
		return true
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return false
	}
	name := strings.ToLower(u.Hostname())
	return slices.ContainsFunc(hosts, func(listed string) bool {
		listed = strings.ToLower(listed)
		if domain, below := strings.CutPrefix(listed, "*"); below {
			return strings.HasSuffix(name, domain) && len(name) > len(domain)
		}
		return listed == name || listed == strings.ToLower(u.Host) || listed == "["+name+"]"
	})
}

// IsAddress reports whether a field of an agent that may be a digest or an address, as
// [DesiredAgent.MD5], is an address.
func IsAddress(s string) bool { return isHTTP(s) }

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}
