package web

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/printable"
	"github.com/ops-updater/ops-updater/meta/api"
)

type agentsView struct {
	Agents   []api.Agent
	Overview map[string]api.AgentOverview
	Shares   map[string][]share
}

func agentsPage(v *visit) error {
	ctx := v.r.Context()
	agents, err := v.api.Agents(ctx, api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	overview, err := v.api.Overview(ctx)
	if err != nil {
		return err
	}
	data := agentsView{Agents: agents.Items, Overview: map[string]api.AgentOverview{}, Shares: map[string][]share{}}
	for _, a := range overview.Agents {
		data.Overview[a.Name], data.Shares[a.Name] = a, versionShares(a.Versions)
	}
	v.renderPage(http.StatusOK, "agents", "Agents", data)
	return nil
}

type agentView struct {
	Agent       api.Agent
	Releases    api.Page[api.Release]
	Assignments []api.Assignment
	Rollouts    []api.Rollout
	Overview    api.AgentOverview
	Shares      []share
	Chart       stackChart
}

func agentPage(v *visit) error {
	ctx, name := v.r.Context(), v.r.PathValue("name")
	agent, err := v.api.Agent(ctx, name)
	if err != nil {
		return err
	}
	data := agentView{Agent: agent}
	if data.Releases, err = v.api.Releases(ctx, api.ListOptions{Agent: name, Limit: 50, Cursor: v.r.URL.Query().Get("cursor")}); err != nil {
		return err
	}
	assignments, err := v.api.Assignments(ctx, api.ListOptions{Agent: name, Limit: api.MaxPage})
	if err != nil {
		return err
	}
	rollouts, err := v.api.Rollouts(ctx, api.ListOptions{Agent: name, Limit: 10})
	if err != nil {
		return err
	}
	overview, err := v.api.Overview(ctx)
	if err != nil {
		return err
	}
	history, err := v.api.History(ctx, name, v.cfg.Now().Add(-24*time.Hour))
	if err != nil {
		return err
	}
	data.Assignments, data.Rollouts, data.Overview.Name = assignments.Items, rollouts.Items, name
	for _, a := range overview.Agents {
		if a.Name == name {
			data.Overview, data.Shares = a, versionShares(a.Versions)
		}
	}
	data.Chart = versionChart(history, data.Overview)
	v.renderPage(http.StatusOK, "agent", name, data)
	return nil
}

type publishView struct {
	Agent, Version, Arch string

	Problem *api.Problem // why the file was not taken; what was entered is kept
}

func publishPage(v *visit) error {
	v.renderPage(http.StatusOK, "publish", "Publish a release", publishView{Agent: v.r.URL.Query().Get("agent")})
	return nil
}

// maxDrained is how much of a refused upload is read before the answer: a
// browser that is still sending shows no answer.
const maxDrained = 256 << 20

// publishTarball streams an uploaded tarball on to the API: it is never kept here.
func publishTarball(v *visit) error {
	var upload api.Upload
	to, err := v.publishForm(&upload)
	if err == nil {
		return v.redirectTo(to)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(v.r.Body, maxDrained))
	return v.showAgain(err, "publish", "Publish a release", func(p *api.Problem) any {
		return publishView{Agent: upload.Agent, Version: upload.Version, Arch: upload.Arch, Problem: p}
	})
}

// publishForm reads the form, whose fields agent, version and arch come before
// the file, and returns the address of the page that shows the release.
func (v *visit) publishForm(upload *api.Upload) (string, error) {
	parts, err := v.r.MultipartReader()
	if err != nil {
		return "", &api.Problem{Title: "Nothing was uploaded", Status: http.StatusBadRequest, Detail: err.Error(), Hint: "Choose a .tar.gz file."}
	}
	for range maxFields {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return "", &api.Problem{Title: "No file was chosen", Status: http.StatusBadRequest, Hint: "Choose a {name}-{version}.tar.gz file."}
		}
		if err != nil {
			return "", err
		}
		if part.FormName() == "file" {
			return v.publishFile(part, *upload)
		}
		if err := readField(part, upload); err != nil {
			return "", err
		}
	}
	return "", &api.Problem{Title: "The form is not ours", Status: http.StatusBadRequest, Detail: fmt.Sprintf("It has more than %d fields before its file.", maxFields), Hint: "Use the page's own form."}
}

// maxFields is how many fields a form with a file has at most.
const maxFields = 16

func readField(part *multipart.Part, upload *api.Upload) error {
	value, err := io.ReadAll(io.LimitReader(part, 256))
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(value))
	switch part.FormName() {
	case "agent":
		upload.Agent = text
	case "version":
		upload.Version = text
	case "arch":
		upload.Arch = text
	}
	return nil
}

func (v *visit) publishFile(part *multipart.Part, upload api.Upload) (string, error) {
	read, err := api.Naming{Agent: upload.Agent, Version: upload.Version, Arch: upload.Arch}.Complete(part.FileName(), v.knowsAgent)
	if unclear := (*api.AmbiguousName)(nil); errors.As(err, &unclear) {
		return "", &api.Problem{
			Title: "Which release is this?", Status: http.StatusBadRequest,
			Detail: unclear.Error(), Hint: "Fill in agent and version, or name the file {name}-{version}.tar.gz.",
		}
	}
	if err != nil {
		return "", err
	}
	upload.Agent, upload.Version, upload.Arch = read.Agent, read.Version, read.Arch
	upload.Tarball = part
	artifact, err := v.api.Upload(v.r.Context(), upload)
	if err != nil {
		return "", err
	}
	return "/agents/" + url.PathEscape(artifact.Agent) + "#release-" + artifact.Version, nil
}

func (v *visit) knowsAgent(name string) (bool, error) {
	_, err := v.api.Agent(v.r.Context(), name)
	if isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func confirmUnassign(v *visit) error {
	q := v.r.URL.Query()
	scope, err := api.ParseScope(q.Get("scope"))
	if err != nil {
		return &api.Problem{Title: "There is no such assignment", Status: http.StatusBadRequest, Detail: err.Error()}
	}
	assignment, err := v.api.Assignment(v.r.Context(), q.Get("agent"), scope)
	if err != nil {
		return err
	}
	impact, err := v.api.AssignmentImpact(v.r.Context(), assignment)
	if err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "confirm", "Remove an assignment", confirmView{
		Question: "Stop saying that " + scope.String() + " runs " + assignment.Agent + " " + assignment.Version + "?",
		Effect: printable.Count(impact.Hosts, "host belongs", "hosts belong") + " to this scope. Those that another rule covers follow it; " +
			"the others keep what they run and report it as orphaned.",
		Action: "/assignments/delete", Button: "Remove the assignment", Danger: true, Back: "/agents/" + url.PathEscape(assignment.Agent),
		Hidden: map[string]string{"agent": assignment.Agent, "scope": scope.String()},
	})
	return nil
}

func deleteAssignment(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	agent := v.r.PostFormValue("agent")
	scope, err := api.ParseScope(v.r.PostFormValue("scope"))
	if err != nil {
		return &api.Problem{Title: "There is no such assignment", Status: http.StatusBadRequest, Detail: err.Error()}
	}
	if err := v.api.DeleteAssignment(v.r.Context(), agent, scope, 0); err != nil {
		return err
	}
	return v.redirectTo("/agents/" + url.PathEscape(agent))
}

// confirmView asks before a change, saying what it does to how many hosts.
type confirmView struct {
	Question string
	Effect   string
	Sample   []string // hosts it changes
	Action   string   // where the answer is posted
	Button   string
	Danger   bool
	Reason   bool // ask for one
	Back     string
	Hidden   map[string]string
}

// parseForm reads a small form.
func (v *visit) parseForm() error {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := v.r.ParseForm(); err != nil {
		return &api.Problem{Title: "The form could not be read", Status: http.StatusBadRequest, Detail: err.Error()}
	}
	return nil
}
