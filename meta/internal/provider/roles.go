package provider

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Rule gives the people of a group of the provider's a role.
type Rule struct {
	Group  string
	Role   api.Role
	Remits api.Remits
}

// ParseRule reads GROUP=ROLE, or GROUP=operator:REMIT:REMIT…. The group is all
// before the last =. The error is an [api.Error] of KindInvalid.
func ParseRule(text string) (Rule, error) {
	refuse := func(why string) (Rule, error) {
		e := api.InvalidField("oidc.roles", "oidc.roles: %q %s", printable.Clip(text), why)
		e.Hint = "such as ops-admins=admin or team-a=operator:falcon-*@canary"
		return Rule{}, e
	}
	at := strings.LastIndex(text, "=")
	if at <= 0 {
		return refuse("is not GROUP=ROLE")
	}
	role, remits, limited := strings.Cut(text[at+1:], ":")
	r := Rule{Group: text[:at], Role: api.Role(role)}
	if limited {
		r.Remits = api.RemitsOf(strings.Split(remits, ":"))
	}
	// What a person here may be, a person of the provider's may be.
	if err := (api.User{Name: "x", Role: r.Role, Remits: r.Remits}).Validate(); err != nil {
		return refuse("gives no role to a person: " + err.Error())
	}
	return r, nil
}

// strength orders the roles of people.
var strength = map[api.Role]int{api.RoleViewer: 1, api.RoleOperator: 2, api.RoleAdmin: 3}

// RoleOf is what the members of groups may do: the strongest role that a rule gives
// one of them, with the remits of all rules that give it, or without any when one of
// these has none. The role is empty when no rule is about them.
func RoleOf(rules []Rule, groups []string) (role api.Role, remits api.Remits) {
	whole := false
	for _, r := range rules {
		if !slices.Contains(groups, r.Group) {
			continue
		}
		switch cmp.Compare(strength[r.Role], strength[role]) {
		case 1:
			role, remits, whole = r.Role, slices.Clone(r.Remits), len(r.Remits) == 0
		case 0:
			remits, whole = append(remits, r.Remits...), whole || len(r.Remits) == 0
		}
	}
	if whole {
		return role, nil
	}
	slices.Sort(remits)
	return role, slices.Compact(remits)
}
