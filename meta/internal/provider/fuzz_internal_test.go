package provider

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// FuzzSession makes people of whatever a provider says of them: nobody is called
// like somebody whom this server knows, and nobody is let in without a role.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"u1","email":"anna@example.com","email_verified":true,"groups":["ops"]}`,
		`{"sub":"u1","email":"anna","email_verified":true,"groups":"ops"}`,
		`{"sub":"a b","preferred_username":"@","groups":[1,{"ops":1},"team-a"]}`,
		`{"sub":"","groups":["ops"]}`, `{"sub":7,"email":[],"groups":{}}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	conf := Config{Issuer: "https://login.example.com", GroupsClaim: "groups", Rules: []Rule{
		{Group: "ops", Role: api.RoleAdmin}, {Group: "team-a", Role: api.RoleOperator, Remits: api.Remits{"a@b"}},
	}}
	f.Fuzz(func(t *testing.T, data []byte) {
		var said claims
		if json.Unmarshal(data, &said) != nil {
			return
		}
		s, err := said.session(conf)
		if err != nil {
			if s.Role != "" || err.Error() == "" {
				t.Errorf("%+v is refused with %q", s, err)
			}
			return
		}
		if (api.User{Name: s.Name, Role: s.Role}).Validate() == nil {
			t.Errorf("%q could be a user of this server", s.Name)
		}
		if !strings.Contains(s.Name, "@") || !isName(s.Name) || s.Role != api.RoleAdmin && len(s.Remits) != 1 {
			t.Errorf("%s makes %+v", data, s)
		}
	})
}
