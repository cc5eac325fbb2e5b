package meta

import (
	"net/url"
	"slices"
	"strings"
)

// hiddenPart stands for what an address keeps to itself.
const hiddenPart = "xxxxx"

// RedactURL is an address as logs, errors and reports may show it: without
// password, and without the values of its query, which may be a token or the
// signature of a presigned URL.
func RedactURL(raw string) string {
	if !strings.ContainsAny(raw, "@?#") { // nothing in it can be a secret
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil && !strings.ContainsAny(raw, "@?#") {
		return raw // no part of it can be a secret, and who wrote it wants to see what is wrong
	}
	if err != nil || u.Opaque != "" && strings.Contains(raw, "@") {
		return "an address that is not a URL"
	}
	if u.User != nil {
		if _, set := u.User.Password(); set {
			u.User = url.UserPassword(u.User.Username(), hiddenPart)
		} else { // it may be a token
			u.User = url.User(hiddenPart)
		}
	}
	params := strings.Split(u.RawQuery, "&")
	for i, p := range params {
		if name, _, valued := strings.Cut(p, "="); valued {
			params[i] = name + "=" + hiddenPart
		} else if p != "" {
			params[i] = hiddenPart
		}
	}
	u.RawQuery, u.Fragment, u.RawFragment = strings.Join(params, "&"), "", ""
	return u.String()
}

// IsRedacted reports whether an address is one that [RedactURL] took something
// from.
func IsRedacted(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || RedactURL(raw) != raw {
		return false
	}
	return u.User != nil || u.RawQuery != ""
}

// Redacted is the reply as a log may show it.
func (r HeartbeatResponse) Redacted() HeartbeatResponse {
	r.DesiredAgents = slices.Clone(r.DesiredAgents)
	for i := range r.DesiredAgents {
		a := &r.DesiredAgents[i]
		a.Tarball, a.MD5, a.ConfigRemoteURL = RedactURL(a.Tarball), RedactURL(a.MD5), RedactURL(a.ConfigRemoteURL)
		a.Mirrors = a.Mirrors.Redacted()
	}
	return r
}
