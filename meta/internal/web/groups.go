package web

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/ops-updater/ops-updater/meta/api"
)

func isNotFound(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

func groupsPage(v *visit) error {
	groups, err := v.api.Groups(v.r.Context(), api.ListOptions{Limit: api.MaxPage})
	if err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "groups", "Groups", groups.Items)
	return nil
}

// groupView is a group's form: each list is a text with one entry a line.
type groupView struct {
	Group   api.Group
	New     bool
	Labels  string
	Matches *api.Page[api.Host] // what the selector picks now
	Problem *api.Problem
}

func editGroup(v *visit) error {
	name := v.r.URL.Query().Get("name")
	if name == "" {
		v.renderPage(http.StatusOK, "group", "New group", groupView{New: true})
		return nil
	}
	group, err := v.api.Group(v.r.Context(), name)
	if err != nil {
		return err
	}
	matches, err := v.api.MatchSelector(v.r.Context(), group.Selector, api.ListOptions{Limit: 10})
	if err != nil {
		return err
	}
	v.renderPage(http.StatusOK, "group", name, groupView{Group: group, Labels: labelLines(group.Selector.Labels), Matches: &matches})
	return nil
}

// saveGroup keeps the group, or shows what its selector would match when only
// a preview was asked for. A selector that is wrong comes back with the form.
func saveGroup(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	data, err := groupFromForm(v.r)
	if err == nil && v.r.PostForm.Has("preview") {
		var matches api.Page[api.Host]
		if matches, err = v.api.MatchSelector(v.r.Context(), data.Group.Selector, api.ListOptions{Limit: 10}); err == nil {
			data.Matches = &matches
			v.renderPage(http.StatusOK, "group", data.Group.Name, data)
			return nil
		}
	} else if err == nil {
		if _, err = v.api.PutGroup(v.r.Context(), data.Group); err == nil {
			return v.redirectTo("/groups")
		}
	}
	if !errors.As(err, &data.Problem) {
		return err
	}
	v.renderPage(data.Problem.Status, "group", data.Group.Name, data)
	return nil
}

func groupFromForm(r *http.Request) (groupView, error) {
	form := r.PostForm
	revision, _ := strconv.ParseInt(form.Get("revision"), 10, 64)
	data := groupView{New: revision == 0, Labels: form.Get("labels"), Group: api.Group{
		Name: strings.TrimSpace(form.Get("name")), Description: form.Get("description"), Revision: revision,
		Selector: api.Selector{
			Hosts: splitLines(form.Get("hosts")), Prefixes: splitLines(form.Get("prefixes")), Globs: splitLines(form.Get("globs")),
			Regexps: splitLines(form.Get("regexps")), CIDRs: splitLines(form.Get("cidrs")), Arches: splitLines(form.Get("arches")),
		},
	}}
	if data.New {
		data.Group.Revision = api.MustNotExist
	}
	var err error
	if data.Group.Priority, err = strconv.Atoi(form.Get("priority")); err != nil && form.Get("priority") != "" {
		return data, &api.Problem{Title: "The priority is not a number", Status: http.StatusBadRequest, Field: "priority"}
	}
	data.Group.Selector.Labels, err = parseLabels(form.Get("labels"))
	return data, err
}

func splitLines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func parseLabels(text string) (map[string]string, error) {
	var labels map[string]string
	for _, line := range splitLines(text) {
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, &api.Problem{Title: fmt.Sprintf("%q is not a label", line), Status: http.StatusBadRequest, Hint: "Write one key=value a line.", Field: "labels"}
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return labels, nil
}

func labelLines(labels map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&b, "%s=%s\n", key, labels[key])
	}
	return b.String()
}

func deleteGroup(v *visit) error {
	if err := v.parseForm(); err != nil {
		return err
	}
	seen, _ := strconv.ParseInt(v.r.PostFormValue("revision"), 10, 64) // one that was changed meanwhile stays
	if err := v.api.DeleteGroup(v.r.Context(), v.r.PostFormValue("name"), seen); err != nil {
		return err
	}
	return v.redirectTo("/groups")
}
