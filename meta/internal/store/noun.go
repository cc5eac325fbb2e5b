package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ops-updater/ops-updater/meta/api"
)

// noun is a table of things that operators write: a name, a revision and the
// thing itself as JSON, beside the columns that are searched.
type noun[T any] struct {
	kind     string // what errors and the audit log call it
	table    string
	name     func(T) string
	revision func(*T) *int64
	strip    func(*T)         // what is kept elsewhere; may be nil
	columns  func(T) []column // what is searched; may be nil
	redact   func(*T)         // what the audit log must not know; may be nil
}

// column is a value that is searched.
type column struct {
	name  string
	value any
}

// nameOf joins the parts of a name. Only the last may contain a slash.
func nameOf(parts ...string) string { return strings.Join(parts, "/") }

func (n noun[T]) encodeDoc(v T) ([]byte, error) {
	*n.revision(&v) = 0
	if n.strip != nil {
		n.strip(&v)
	}
	return json.Marshal(v)
}

func (n noun[T]) decodeDoc(doc []byte, revision int64) (T, error) {
	var v T
	if err := json.Unmarshal(doc, &v); err != nil {
		return v, &api.Error{Kind: api.KindInternal, Message: "cannot decode stored " + n.kind, Err: err}
	}
	*n.revision(&v) = revision
	return v, nil
}

func (n noun[T]) scanRow(rows *sql.Rows) (v T, err error) {
	var revision int64
	var doc sql.RawBytes
	if err := rows.Scan(&revision, &doc); err != nil {
		return v, err
	}
	return n.decodeDoc(doc, revision)
}

func (n noun[T]) get(ctx context.Context, q querier, name string) (v T, err error) {
	var revision int64
	var doc []byte
	err = q.QueryRowContext(ctx, `SELECT revision, doc FROM `+n.table+` WHERE name = $1`, cleanText(name)).Scan(&revision, &doc)
	if errors.Is(err, sql.ErrNoRows) {
		return v, notFound(n.kind, name)
	}
	if err != nil {
		return v, faultOf(fmt.Sprintf("read %s %q", n.kind, name), err)
	}
	return n.decodeDoc(doc, revision)
}

// findPage lists what matches, by name.
func (n noun[T]) findPage(ctx context.Context, q querier, w where, c api.Cursor) (api.Page[T], error) {
	if c.After != "" {
		w.add("name > %s", cleanText(c.After))
	}
	query := `SELECT revision, doc FROM ` + n.table + w.sql() + ` ORDER BY name` + w.limit(c)
	return listPage(ctx, q, "list "+n.table, pageSize(c), query, w.args, n.scanRow, n.name)
}

func (n noun[T]) findAll(ctx context.Context, q querier, w where) ([]T, error) {
	return listAll(ctx, q, "list "+n.table, `SELECT revision, doc FROM `+n.table+w.sql()+` ORDER BY name`, w.args, n.scanRow)
}

// put creates or replaces v. Its revision says what must be there: 0 whatever
// it is, [api.MustNotExist] nothing, else exactly that revision. Writing what
// is there already changes nothing.
func (n noun[T]) put(ctx context.Context, tx *Tx, v T) (T, error) {
	if tx.serial == 0 {
		return v, errNeedsWrite
	}
	// Operators' writes run one at a time, so what is read here is still so when it is
	// written.
	before, err := n.get(ctx, tx.q, n.name(v))
	exists := err == nil
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return v, err
	}
	doc, err := n.changed(v, before, exists)
	if err != nil {
		return v, err
	}
	if doc == nil {
		return before, nil
	}
	if err := n.writeRow(ctx, tx, v, doc, exists); err != nil {
		return v, err
	}
	*n.revision(&v) = tx.serial
	return v, n.recordPut(tx, v, before, exists)
}

// changed is what is written for v in the place of before, or nil when that
// says the same.
func (n noun[T]) changed(v, before T, exists bool) (doc []byte, err error) {
	if err := checkRevision(n.kind, n.name(v), *n.revision(&v), exists, *n.revision(&before)); err != nil {
		return nil, err
	}
	if doc, err = n.encodeDoc(v); err != nil || !exists {
		return doc, err
	}
	old, err := n.encodeDoc(before)
	// Both encoded by this program: what an older one stored differently counts as the
	// same when it reads the same.
	if err != nil || bytes.Equal(old, doc) {
		return nil, err
	}
	return doc, nil
}

func (n noun[T]) recordPut(tx *Tx, v, before T, exists bool) error {
	if exists {
		return tx.recordChange("update", n.kind, n.name(v), n.withoutSecrets(before), n.withoutSecrets(v))
	}
	return tx.recordChange("create", n.kind, n.name(v), nil, n.withoutSecrets(v))
}

// putMany is put for things of different names: a statement reads, and one
// writes, many of them.
func (n noun[T]) putMany(ctx context.Context, tx *Tx, list []T) error {
	if tx.serial == 0 {
		return errNeedsWrite
	}
	for part := range slices.Chunk(list, chunk) {
		if err := n.putChunk(ctx, tx, part); err != nil {
			return err
		}
	}
	return nil
}

func (n noun[T]) putChunk(ctx context.Context, tx *Tx, part []T) error {
	// One query for the chunk: a fleet file of 100 000 agents keeps other writers
	// waiting as long as it takes.
	before, err := n.among(ctx, tx, part)
	if err != nil {
		return err
	}
	var rows bulk
	for _, v := range part {
		old, exists := before[cleanText(n.name(v))]
		doc, err := n.changed(v, old, exists)
		if err != nil {
			return err
		}
		if doc == nil {
			continue
		}
		names, args := n.row(tx, v, doc)
		rows.width, rows.into, rows.conflict = len(names), n.table+` (`+strings.Join(names, ", ")+`)`, overwriting(names)
		rows.args = append(rows.args, args...)
		*n.revision(&v) = tx.serial
		if err := n.recordPut(tx, v, old, exists); err != nil {
			return err
		}
	}
	if len(rows.args) == 0 {
		return nil
	}
	return faultOf("write "+n.table, tx.store.dialect.insertRows(ctx, tx.q, rows))
}

// overwriting is the clause by which an insert replaces what has its name, the
// first of the columns.
func overwriting(names []string) string {
	set := make([]string, 0, len(names))
	for _, column := range names[1:] {
		set = append(set, column+" = excluded."+column)
	}
	return ` ON CONFLICT (` + names[0] + `) DO UPDATE SET ` + strings.Join(set, ", ")
}

// among is what is there of the names in a list.
func (n noun[T]) among(ctx context.Context, tx *Tx, list []T) (map[string]T, error) {
	w := where{conds: []string{"name IN " + tx.store.dialect.valueRows(1, len(list), "")}}
	for _, v := range list {
		w.args = append(w.args, cleanText(n.name(v)))
	}
	found, err := n.findAll(ctx, tx.q, w)
	there := make(map[string]T, len(found))
	for _, v := range found {
		there[cleanText(n.name(v))] = v
	}
	return there, err
}

func (n noun[T]) withoutSecrets(v T) T {
	if n.redact != nil {
		n.redact(&v)
	}
	return v
}

func checkRevision(kind, name string, want int64, exists bool, have int64) error {
	switch {
	case want == api.MustNotExist && exists:
		return &api.Error{Kind: api.KindExists, Message: fmt.Sprintf("%s %q exists already", kind, name)}
	case want > 0 && !exists:
		return notFound(kind, name)
	case want > 0 && want != have:
		return &api.Error{
			Kind:    api.KindConflict,
			Message: fmt.Sprintf("%s %q was changed meanwhile: revision %d was expected, it is %d", kind, name, want, have),
			Hint:    "read it again and repeat the change",
		}
	}
	return nil
}

func (n noun[T]) writeRow(ctx context.Context, tx *Tx, v T, doc []byte, exists bool) error {
	names, args := n.row(tx, v, doc)
	query := `INSERT INTO ` + n.table + ` (` + strings.Join(names, ", ") + `) VALUES ` + tx.store.dialect.valueRows(1, len(names), "")
	if exists {
		var set []string
		for i, column := range names[1:] {
			set = append(set, column+" = $"+strconv.Itoa(i+2))
		}
		query = `UPDATE ` + n.table + ` SET ` + strings.Join(set, ", ") + ` WHERE name = $1`
	}
	_, err := tx.q.ExecContext(ctx, query, args...)
	return faultOf(fmt.Sprintf("write %s %q", n.kind, n.name(v)), err)
}

// row is v's columns, its name first.
func (n noun[T]) row(tx *Tx, v T, doc []byte) (names []string, args []any) {
	names, args = []string{"name", "revision", "doc"}, []any{cleanText(n.name(v)), tx.serial, string(doc)}
	if n.columns != nil {
		for _, c := range n.columns(v) {
			names, args = append(names, c.name), append(args, c.value)
		}
	}
	return names, args
}

// remove deletes the thing; revision 0 whatever it is.
func (n noun[T]) remove(ctx context.Context, tx *Tx, name string, revision int64) error {
	before, err := n.get(ctx, tx.q, name)
	if err != nil {
		return err
	}
	if err := checkRevision(n.kind, name, revision, true, *n.revision(&before)); err != nil {
		return err
	}
	// Read above in the same transaction, so the revision that was checked is the one
	// that goes.
	if _, err := tx.q.ExecContext(ctx, `DELETE FROM `+n.table+` WHERE name = $1`, cleanText(name)); err != nil {
		return faultOf(fmt.Sprintf("delete %s %q", n.kind, name), err)
	}
	return tx.recordChange("delete", n.kind, name, n.withoutSecrets(before), nil)
}

// nameInUse returns the name of a row of a table that matches, empty when none does.
func nameInUse(ctx context.Context, q querier, table string, w where) (string, error) {
	var name string
	err := q.QueryRowContext(ctx, `SELECT name FROM `+table+w.sql()+` ORDER BY name LIMIT 1`, w.args...).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return name, faultOf("look into "+table, err)
}

// use is a place where something may be in use.
type use struct {
	what  string // singular, for the message
	table string
	where where
}

func refuseUsed(ctx context.Context, q querier, kind, name string, places []use) error {
	for _, p := range places {
		by, err := nameInUse(ctx, q, p.table, p.where)
		if err != nil {
			return err
		}
		if by != "" {
			return inUse(kind, name, p.what+" "+strconv.Quote(by))
		}
	}
	return nil
}

// whereEqual is a where of equal columns: matching("agent", a, "version", v).
func whereEqual(pairs ...any) where {
	var w where
	for i := 0; i < len(pairs); i += 2 {
		w.add(pairs[i].(string)+" = %s", pairs[i+1])
	}
	return w
}
