package web

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/meta/api"
)

type changesView struct {
	Entries []changeEntry
	Next    string
	Kind    string
	Kinds   []string
}

// changeEntry is one write with what it changed, field by field.
type changeEntry struct {
	api.AuditEntry
	Diff []fieldDiff
}

type fieldDiff struct {
	Field, Before, After string
}

func changesPage(v *visit) error {
	q := v.r.URL.Query()
	page, err := v.api.Audit(v.r.Context(), api.ListOptions{Kind: q.Get("kind"), Actor: q.Get("actor"), Cursor: q.Get("cursor"), Limit: 50})
	if err != nil {
		return err
	}
	data := changesView{Next: page.Next, Kind: q.Get("kind"), Kinds: api.AuditKinds}
	for _, e := range page.Items {
		data.Entries = append(data.Entries, changeEntry{AuditEntry: e, Diff: diffJSON(e.Before, e.After)})
	}
	v.renderPage(http.StatusOK, "changes", "Changes", data)
	return nil
}

// bookkeeping are fields that every write changes, or that count along.
var bookkeeping = []string{"revision", "createdAt", "updatedAt", "progress", "stageSince", "settledAt"}

// diffJSON lists the fields that differ between two objects, nested ones by
// their path, in order, without bookkeeping.
func diffJSON(before, after json.RawMessage) []fieldDiff {
	b, a := map[string]string{}, map[string]string{}
	flattenJSON(b, "", before)
	flattenJSON(a, "", after)
	keys := maps.Clone(b)
	maps.Copy(keys, a)
	var out []fieldDiff
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if b[key] != a[key] && !slices.Contains(bookkeeping, key) {
			out = append(out, fieldDiff{Field: key, Before: b[key], After: a[key]})
		}
	}
	return out
}

func flattenJSON(into map[string]string, path string, value json.RawMessage) {
	value = bytes.TrimSpace(value)
	var fields map[string]json.RawMessage
	if len(value) > 0 && value[0] == '{' && json.Unmarshal(value, &fields) == nil {
		for key, v := range fields {
			flattenJSON(into, strings.TrimPrefix(path+"."+key, "."), v)
		}
		return
	}
	text := string(value)
	var plain string
	if json.Unmarshal(value, &plain) == nil {
		text = plain
	}
	if text != "" && text != "null" {
		into[path] = text
	}
}
