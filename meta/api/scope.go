package api

import (
	"fmt"
	"strings"
)

// String is the scope as one word: everyone, group:{name}, host:{name} or
// agent:{name}. It names the scope in addresses and on the command line.
func (s Scope) String() string {
	if s.Kind == ScopeEveryone || s.Name == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + ":" + s.Name
}

// InWords is the scope for people, such as "group canary".
func (s Scope) InWords() string {
	if s.Name == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + " " + s.Name
}

// ParseScope reads what [Scope.String] writes. It does not check the name;
// [Scope.Validate] does.
func ParseScope(s string) (Scope, error) {
	kind, name, _ := strings.Cut(s, ":")
	scope := Scope{Kind: ScopeKind(kind), Name: name}
	switch scope.Kind {
	case ScopeEveryone:
		if name != "" {
			return Scope{}, fmt.Errorf("scope %q: everyone takes no name", s)
		}
	case ScopeGroup, ScopeHost, ScopeAgent:
		if name == "" {
			return Scope{}, fmt.Errorf("scope %q needs a name, such as %s:NAME", s, kind)
		}
	default:
		return Scope{}, fmt.Errorf("scope %q is not known: want everyone, group:NAME, host:NAME or agent:NAME", s)
	}
	return scope, nil
}
