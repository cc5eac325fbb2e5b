package store

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Sizes of a page.
const (
	defaultPage = 100
	maxPage     = 10_000
)

func pageSize(c api.Cursor) int {
	switch {
	case c.Limit <= 0:
		return defaultPage
	case c.Limit > maxPage:
		return maxPage
	}
	return c.Limit
}

// where collects conditions and their arguments.
type where struct {
	conds []string
	args  []any
}

// add takes a condition with one %s for its argument's placeholder.
func (w *where) add(cond string, arg any) {
	w.args = append(w.args, arg)
	w.conds = append(w.conds, fmt.Sprintf(cond, "$"+strconv.Itoa(len(w.args))))
}

func (w *where) equal(column, value string) {
	if value != "" {
		w.add(column+" = %s", value)
	}
}

// contains looks for part of a text, in any case.
func (w *where) contains(column, part string) {
	if part != "" {
		// Escaped, or somebody who looks for "a_b" would find "axb".
		w.add("LOWER("+column+`) LIKE %s ESCAPE '\'`, "%"+likeEscaper.Replace(strings.ToLower(cleanText(part)))+"%")
	}
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func (w *where) inPeriod(column string, since, until time.Time) {
	if !since.IsZero() {
		w.add(column+" >= %s", toMicros(since))
	}
	if !until.IsZero() {
		w.add(column+" < %s", toMicros(until))
	}
}

// beforeCursor continues a newest-first listing after the row whose id is the cursor.
func (w *where) beforeCursor(column, cursor string) error {
	if cursor == "" {
		return nil
	}
	id, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil {
		return badCursor(cursor)
	}
	w.add(column+" < %s", id)
	return nil
}

// afterCursor continues an oldest-first listing after the row whose id is the cursor.
func (w *where) afterCursor(column, cursor string) error {
	if cursor == "" {
		return nil
	}
	id, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil {
		return badCursor(cursor)
	}
	w.add(column+" > %s", id)
	return nil
}

// nameContains looks for part of the name.
func nameContains(search string) where {
	var w where
	w.contains("name", search)
	return w
}

func badCursor(cursor string) error {
	return &api.Error{Kind: api.KindInvalid, Field: "cursor", Message: fmt.Sprintf("cursor %q is not one that a listing returned", cursor)}
}

func (w *where) sql() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}

// limit asks for one row more than the page has, to know whether there is a
// next one.
func (w *where) limit(c api.Cursor) string { return fmt.Sprintf(" LIMIT %d", pageSize(c)+1) }

// listPage reads a page; cursor is the Next that continues after an item.
func listPage[T any](ctx context.Context, q querier, what string, size int, query string, args []any,
	scan func(*sql.Rows) (T, error), cursor func(T) string,
) (api.Page[T], error) {
	page := api.Page[T]{Items: []T{}}
	items, err := listAll(ctx, q, what, query, args, scan)
	if err != nil {
		return page, err
	}
	page.Items = append(page.Items, items...)
	// The row beyond the page is only asked for to know that there is one, see limit.
	if len(items) > size {
		page.Items = page.Items[:size]
		page.Next = cursor(page.Items[size-1])
	}
	return page, nil
}

func listAll[T any](ctx context.Context, q querier, what, query string, args []any, scan func(*sql.Rows) (T, error)) ([]T, error) {
	var items []T
	err := eachRow(ctx, q, what, query, args, func(rows *sql.Rows) error {
		item, err := scan(rows)
		if err == nil {
			items = append(items, item)
		}
		return err
	})
	return items, err
}

func eachRow(ctx context.Context, q querier, what, query string, args []any, row func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return faultOf(what, err)
	}
	defer func() { _ = rows.Close() }() // what fails is in rows.Err
	for rows.Next() {
		if err := row(rows); err != nil {
			return faultOf(what, err)
		}
	}
	// A connection that breaks ends the loop like the last row does.
	return faultOf(what, rows.Err())
}

// cleanText makes text of the network fit for a column: PostgreSQL takes neither
// NUL nor invalid UTF-8.
func cleanText(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "�")
	}
	return strings.ToValidUTF8(s, "�")
}
