package provider

import (
	"net/url"
	"strings"
	"unicode"

	"github.com/ops-updater/ops-updater/meta/api"
)

// claims are what the provider says of somebody.
type claims map[string]any

func (c claims) lack(name string) bool { _, there := c[name]; return !there }

func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// list is a claim that is a list of texts, or one.
func (c claims) list(name string) (all []string) {
	switch v := c[name].(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v {
			if s, ok := item.(string); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

// maxName bounds the name of a person, in bytes.
const maxName = 200

// nameOf is what a person is called here: their address of mail, if the provider has
// made sure of it, else their name or subject there, which they may have chosen, with the
// provider's host behind it. It has an @ in it always, so that it is nobody's who is known
// here, user or token; and one who chose somebody's address has two.
func (c claims) nameOf(issuer string) string {
	if mail := c.text("email"); c["email_verified"] == true && strings.Count(mail, "@") == 1 && isName(mail) {
		return mail
	}
	for _, claim := range []string{"preferred_username", "sub"} {
		name := c.text(claim)
		if isName(name) {
			return name + "@" + hostOf(issuer)
		}
	}
	return ""
}

// isName reports whether a text can stand for a person in lists and logs.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }) < 0
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// session is what they may do here, with their role and remits.
func (c claims) session(conf Config) (api.Session, error) {
	s := api.Session{Name: c.nameOf(conf.Issuer), Provider: conf.Issuer, Subject: c.text("sub")}
	if s.Name == "" || len(s.Subject) > maxName {
		return s, api.Errorf(api.KindDenied, "the login provider %s gives nobody's name", conf.Issuer)
	}
	groups := c.list(conf.GroupsClaim)
	if s.Role, s.Remits = RoleOf(conf.Rules, groups); s.Role == "" {
		return s, refuseStranger(s.Name, groups, conf)
	}
	return s, nil
}

// maxShown is how many of a person's groups they are told.
const maxShown = 10

func refuseStranger(name string, groups []string, conf Config) error {
	has := "the provider says no groups in the claim " + conf.GroupsClaim
	if len(groups) > 0 {
		has = "their groups are " + api.SomeOf(groups[:min(len(groups), maxShown)])
	}
	e := api.Errorf(api.KindDenied, "%s is in no group that may do anything here: %s", name, has)
	e.Hint = "ask an admin to give one of them a role: --oidc-role GROUP=ROLE"
	return e
}
