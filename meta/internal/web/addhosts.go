package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/timespan"
	"github.com/ops-updater/ops-updater/meta/api"
)

// Handout is what hosts install their sidecar from.
type Handout struct {
	Server   string         // its address, as hosts reach it: https://ops-meta.example.com
	CA       string         // the certificate that vouches for it, in PEM; empty: hosts' systems do
	Sidecars []api.Artifact // one release of ops-updater for each platform
}

// IsPlain reports whether hosts reach the server, on another machine, without TLS.
func (h Handout) IsPlain() bool {
	u, err := url.Parse(h.Server)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// InstallLine is what a person says on a host to install the sidecar and enrol it with
// the enrolment token secret: of one line, or of some more where the host has to be told
// first whom to believe.
func (h Handout) InstallLine(secret string) string {
	// By a pipe: what is an argument of curl, every user of the host can see.
	line := fmt.Sprintf("echo 'Authorization: Bearer %s' | curl -fsSL -H @- %s/install.sh | sh", secret, h.Server)
	if h.CA == "" {
		return line
	}
	return "cat >ops-meta-ca.pem <<'END'\n" + h.CA + "\nEND\n" + strings.Replace(line, "curl ", "curl --cacert ops-meta-ca.pem ", 1)
}

// Arrivals are shown of the last week, as an enrolment token is good for by default.
const (
	enrolmentTTL = 7 * timespan.Day
	arrivalsKept = 50
)

type addHostsView struct {
	Handout  Handout
	Made     *api.Token // its secret is shown this once
	Install  string     // what to say on a host with it
	Token    string     // only hosts that this one enrolled are listed; empty: all
	Arrivals []arrival
	More     bool // than are shown

	// What the form says that was refused, and why.
	Name, TTL string
	Problem   *api.Problem
}

// arrival is a host that enrolled.
type arrival struct {
	Name  string
	Token string // that it enrolled with
	From  string // address
	At    time.Time
	Host  *api.Host // nil: it has not reported yet
}

func addHostsPage(v *visit) error {
	return v.showAddHosts(addHostsView{Token: v.r.URL.Query().Get("token")})
}

func (v *visit) showAddHosts(data addHostsView) error {
	if err := data.fillAddHosts(v); err != nil {
		return err
	}
	self := url.URL{Path: "/add-hosts"}
	if data.Token != "" {
		self.RawQuery = url.Values{"token": {data.Token}}.Encode()
	}
	v.renderPageAs(self.String(), http.StatusOK, "addhosts", "Add hosts", data)
	return nil
}

func (d *addHostsView) fillAddHosts(v *visit) error {
	if v.cfg.Handout != nil {
		d.Handout = v.cfg.Handout()
	}
	if d.TTL == "" {
		d.TTL = timespan.Say(enrolmentTTL)
	}
	ctx := v.r.Context()
	enrolled, err := v.api.Audit(ctx, api.ListOptions{Kind: "host", Action: "enrol", Actor: d.Token, Limit: arrivalsKept, Since: v.cfg.Now().Add(-enrolmentTTL)})
	if err != nil {
		return err
	}
	d.More = enrolled.Next != ""
	seen := map[string]bool{}
	for _, e := range enrolled.Items {
		if seen[e.Name] {
			continue // it enrolled again: its reply was lost
		}
		seen[e.Name] = true
		a := arrival{Name: e.Name, Token: e.Actor, From: e.From, At: e.Time}
		host, err := v.api.Host(ctx, e.Name)
		var p *api.Problem
		switch {
		case err == nil:
			a.Host = &host
		case !errors.As(err, &p) || p.Status != http.StatusNotFound:
			return err
		}
		d.Arrivals = append(d.Arrivals, a)
	}
	return nil
}

// createEnrolment makes an enrolment token and shows how hosts are added with it.
func createEnrolment(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	data := addHostsView{Name: v.r.PostFormValue("name"), TTL: v.r.PostFormValue("ttl")}
	lasts, err := timespan.Parse(data.TTL)
	if err != nil {
		return v.showAddHostsAgain(&api.Problem{Title: "For how long?", Status: http.StatusBadRequest, Detail: err.Error(), Field: "ttl"}, data)
	}
	token, err := v.api.CreateToken(v.r.Context(), api.NewToken{Name: data.Name, Role: api.RoleEnroll, TTL: int64(lasts.Seconds())})
	if err != nil {
		return v.showAddHostsAgain(err, data)
	}
	made := addHostsView{Made: &token, Token: token.Name}
	if v.cfg.Handout != nil {
		made.Install = v.cfg.Handout().InstallLine(token.Secret)
	}
	return v.showAddHosts(made)
}

func (v *visit) showAddHostsAgain(err error, data addHostsView) error {
	return v.showAgain(err, "addhosts", "Add hosts", func(p *api.Problem) any {
		data.Problem = p
		_ = data.fillAddHosts(v) // what cannot be listed is missing from a page that already says what is wrong
		return data
	})
}
