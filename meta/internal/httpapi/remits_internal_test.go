package httpapi

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// everyRoute is the whole API, as of a server that has all parts.
func everyRoute() []route {
	type ( // embedded by another name, since theirs is one of their methods
		following     = Following
		users         = Users
		sessions      = Sessions
		logins        = Logins
		rollouts      = Rollouts
		notifications = Notifications
		care          = Care
		standstill    = Standstill
		keys          = Keys
	)
	s := &Server{backend: Backend{
		Following: struct{ following }{}, Users: struct{ users }{}, Sessions: struct{ sessions }{}, Logins: struct{ logins }{}, Rollouts: struct{ rollouts }{},
		Notifications: struct{ notifications }{}, Care: struct{ care }{}, Standstill: struct{ standstill }{}, Keys: struct{ keys }{},
	}}
	return s.allRoutes()
}

// An operation of operators that says nothing of remits refuses who has them, which
// nobody may be left to find out; one whose path has no agent cannot ask for it.
func TestEveryWriteOfOperatorsSaysWhatItAsksOfRemits(t *testing.T) {
	writes := 0
	for _, r := range everyRoute() {
		switch {
		case r.role != api.RoleOperator && r.remit != "":
			t.Errorf("%s is not for operators, and says %q of their remits", r.id, r.remit)
		case r.role != api.RoleOperator:
		case r.remit != remitEach && r.remit != remitAgent && r.remit != remitNone:
			t.Errorf("%s says %q of remits: want each, agent or none", r.id, r.remit)
		case r.remit == remitAgent && !strings.Contains(r.path, "{agent}"):
			t.Errorf("%s asks for a remit of the agent in %s, which names none", r.id, r.path)
		default:
			writes++
		}
	}
	if writes < 40 {
		t.Errorf("only %d operations of operators were looked at", writes)
	}
}

// Whoever looks may look: no remit is asked of an operation of viewers. One that is
// not classified refuses whoever has remits.
func TestARemitIsAskedOfWritesAlone(t *testing.T) {
	for name, c := range map[string]struct {
		route  route
		remits api.Remits
		says   string // empty: it is let through
	}{
		"a read":                    {route{role: api.RoleViewer}, api.Remits{"a@b"}, ""},
		"a login":                   {route{}, api.Remits{"a@b"}, ""},
		"without remits":            {route{role: api.RoleOperator, remit: remitNone}, nil, ""},
		"each change":               {route{role: api.RoleOperator, remit: remitEach}, api.Remits{"a@b"}, ""},
		"nothing said":              {route{role: api.RoleOperator}, api.Remits{"*@*"}, "for operators without remits, and ann has *@*"},
		"for none":                  {route{role: api.RoleOperator, remit: remitNone}, api.Remits{"*@*"}, "ann may not PUT /agents/demo"},
		"an agent everywhere":       {route{role: api.RoleOperator, remit: remitAgent}, api.Remits{"x@*", "d*@*"}, ""},
		"an agent in a group":       {route{role: api.RoleOperator, remit: remitAgent}, api.Remits{"demo@b"}, "a remit for agent demo on everyone"},
		"another agent, everywhere": {route{role: api.RoleOperator, remit: remitAgent}, api.Remits{"dem@*"}, "a remit for agent demo on everyone"},
		"an admin's":                {route{role: api.RoleAdmin}, api.Remits{"*@*"}, "for operators without remits"},
	} {
		req := httptest.NewRequest(http.MethodPut, "/agents/demo", nil)
		req.SetPathValue("agent", "demo")
		err := c.route.checkRemits(&call{Request: req, caller: api.Identity{Name: "ann", Role: api.RoleOperator, Remits: c.remits}})
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
		if p := problemOf(err); err != nil && (p.Status != http.StatusForbidden || p.Type != "urn:ops-meta:outsideRemit" || p.Hint == "") {
			t.Errorf("%s: the problem is %+v", name, p)
		}
	}
}

// The caller's remits go with every write: what the store holds against them
// comes from here.
func TestAnActorHasTheRemitsOfTheCaller(t *testing.T) {
	want := api.Actor{Name: "ann", From: "192.0.2.1", Remits: api.Remits{"a@b"}}
	c := &call{caller: api.Identity{Name: "ann", From: "192.0.2.1", Remits: api.Remits{"a@b"}}}
	if got := c.actor(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
