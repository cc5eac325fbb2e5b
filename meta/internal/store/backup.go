package store

import (
	"bufio"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ops-updater/ops-updater/internal/faultpoint"
	"github.com/ops-updater/ops-updater/meta/api"
)

// An archive is gzip of lines of JSON, the same for both databases, so that a
// backup of one can be restored into the other:
//
//	{"format":"ops-meta-backup","version":1,"schema":1,"created":"…","database":"sqlite"}
//	{"table":"agents","columns":["name","revision","doc"]}
//	["web",7,"{…}"]
//	…
//	{"end":true,"rows":123}
//
// A row's bytes are written as {"bytes":"base64"}. Without the last line an
// archive is incomplete and is refused.
const (
	archiveFormat  = "ops-meta-backup"
	archiveVersion = 1
)

// tables is what an archive holds: everything but leases, sessions, which end
// with the database that they were made in, and the list of migrations, which
// restoring writes itself.
var tables = []string{
	"counters", "agents", "groups", "strategies", "notify_targets", "releases", "artifacts", "assignments", "holds", "channels", "schedules", "takes",
	"rollouts", "rollout_stages", "grants", "transitions", "hosts", "host_seen", "host_events",
	"tokens", "users", "audit", "outbox", "samples", "settings",
}

// tableSince is in which schema a table came: older archives do not have it.
var tableSince = map[string]int{"users": 5, "channels": 6, "schedules": 6, "takes": 6}

// numbered are the tables whose key PostgreSQL counts.
var numbered = []string{"transitions", "host_events", "audit", "outbox"}

type archiveHeader struct {
	Format   string    `json:"format"`
	Version  int       `json:"version"`
	Schema   int       `json:"schema"`
	Created  time.Time `json:"created"`
	Database string    `json:"database"`
}

type archiveTable struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

type archiveEnd struct {
	End  bool  `json:"end"`
	Rows int64 `json:"rows"`
}

type archiveBytes struct {
	Bytes []byte `json:"bytes"`
}

// Backup writes an archive of the database as it is at one moment, while it
// is in use, and returns how many rows it holds. It has hashes of tokens and
// keys of cookies in it: keep it as safe as the database. Artifacts' contents
// are not part of it.
func (s *Store) Backup(ctx context.Context, w io.Writer) (rows int64, err error) {
	zip := gzip.NewWriter(w)
	// All tables as of one moment: a grant without the rollout that counts it would be
	// refused by doctor after the restore.
	err = s.inView(ctx, "back up", func(tx *sql.Tx) error {
		rows, err = s.writeArchive(ctx, tx, json.NewEncoder(zip))
		return err
	})
	if err == nil {
		// Only then: closing writes the end of the gzip, by which a broken archive
		// would look whole.
		err = zip.Close()
	}
	return rows, err
}

func (s *Store) writeArchive(ctx context.Context, tx *sql.Tx, out *json.Encoder) (rows int64, err error) {
	out.SetEscapeHTML(false)
	head := archiveHeader{Format: archiveFormat, Version: archiveVersion, Created: time.Now().UTC(), Database: s.dialect.Name}
	if head.Schema, err = schemaVersion(ctx, tx); err != nil {
		return 0, err
	}
	if err := out.Encode(head); err != nil {
		return 0, err
	}
	for _, table := range tables {
		n, err := writeTable(ctx, tx, table, out)
		if err != nil {
			return rows, fmt.Errorf("table %s: %w", table, err)
		}
		rows += n
	}
	return rows, out.Encode(archiveEnd{End: true, Rows: rows})
}

func writeTable(ctx context.Context, tx *sql.Tx, table string, out *json.Encoder) (n int64, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT * FROM `+table)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }() // what fails is in rows.Err
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	if err := out.Encode(archiveTable{Table: table, Columns: columns}); err != nil {
		return 0, err
	}
	row, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range row {
		into[i] = &row[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = archiveBytes{b}
			}
		}
		if err := out.Encode(row); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}

// Restore fills an empty database from an archive, all or nothing, and brings
// it up to date when the archive is older than this ops-meta. It refuses a
// database that is in use.
func Restore(ctx context.Context, c Config, r io.Reader) (rows int64, err error) {
	zip, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return 0, notAnArchive(err)
	}
	in := &archiveReader{lines: bufio.NewReaderSize(zip, 1<<20)}
	var head archiveHeader
	if err := in.readNext(&head); err != nil || head.Format != archiveFormat || head.Version != archiveVersion {
		return 0, notAnArchive(err)
	}
	if head.Schema < 1 {
		return 0, notAnArchive(fmt.Errorf("its schema is version %d", head.Schema))
	}
	s, err := connectTo(ctx, c)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	err = s.inTx(ctx, "restore", func(tx *sql.Tx) error {
		rows, err = s.restoreArchive(ctx, tx, head, in)
		return callbackFault(err)
	})
	return rows, err
}

var errInUse = &api.Error{Kind: api.KindExists, Message: "cannot restore: the database is in use", Hint: "restore into a new directory or an empty database"}

// CheckUnused returns the error of [Restore] when a database is in use, and changes
// nothing.
func CheckUnused(ctx context.Context, c Config) (err error) {
	s, err := connectTo(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	err = s.inTx(ctx, "look at the database", func(tx *sql.Tx) error {
		switch at, err := s.lockSchema(ctx, tx); {
		case err != nil:
			return err
		case at > 0:
			return callbackFault(errInUse)
		}
		return callbackFault(errLook)
	})
	if errors.Is(err, errLook) {
		err = nil
	}
	return err
}

// errLook takes back what a look has written.
var errLook = errors.New("only a look")

func notAnArchive(err error) error {
	return &api.Error{Kind: api.KindInvalid, Message: "this is not a complete ops-meta backup", Err: err}
}

func (s *Store) restoreArchive(ctx context.Context, tx *sql.Tx, head archiveHeader, in *archiveReader) (int64, error) {
	at, err := s.lockSchema(ctx, tx)
	if err != nil {
		return 0, err
	}
	if at > 0 {
		return 0, errInUse
	}
	// The schema that the archive was written with, so that its columns exist; what
	// has changed since is done to its rows below, as it was to those of the database.
	if err := s.migrateTo(ctx, tx, 0, head.Schema); err != nil {
		return 0, err
	}
	// Migrations have put first values there, which those of the archive replace.
	if _, err := tx.ExecContext(ctx, `DELETE FROM counters`); err != nil {
		return 0, err
	}
	rows, err := s.readTables(ctx, tx, head.Schema, in)
	if err != nil {
		return rows, err
	}
	if s.dialect.Postgres {
		// Rows came with their numbers, so the sequences have not moved: the next
		// insert would get a number that is taken.
		for _, table := range numbered {
			_, err := tx.ExecContext(ctx, `SELECT setval(pg_get_serial_sequence('`+table+`', 'id'), (SELECT COALESCE(MAX(id), 0) + 1 FROM `+table+`), false)`)
			if err != nil {
				return rows, err
			}
		}
	}
	// With the rows: no server may serve a restored database for a moment in which
	// hosts are taken back to what was wanted then.
	if err := standStill(ctx, tx, head.Created); err != nil {
		return rows, err
	}
	faultpoint.Hit("restore.filled." + s.dialect.Name)
	// What knows the old database looks again.
	if _, err := tx.ExecContext(ctx, `UPDATE counters SET value = value + 1 WHERE name = 'serial'`); err != nil {
		return rows, err
	}
	return rows, s.migrateTo(ctx, tx, head.Schema, latest)
}

// archiveReader reads lines, each of bounded length.
type archiveReader struct{ lines *bufio.Reader }

const maxArchiveLine = 64 << 20

func (a *archiveReader) readLine() ([]byte, error) {
	var line []byte
	for {
		part, err := a.lines.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxArchiveLine {
			return nil, notAnArchive(err)
		}
	}
}

func (a *archiveReader) readNext(into any) error {
	line, err := a.readLine()
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

func (s *Store) readTables(ctx context.Context, tx *sql.Tx, schema int, in *archiveReader) (rows int64, err error) {
	load, seen := &loader{}, map[string]bool{}
	for {
		line, err := in.readLine()
		if err != nil {
			return rows, err
		}
		if line[0] == '[' {
			rows++
			if err := s.loadRow(ctx, tx, load, line); err != nil {
				return rows, err
			}
			continue
		}
		if err := s.flushRows(ctx, tx, load); err != nil {
			return rows, err
		}
		var head struct {
			archiveTable
			archiveEnd
		}
		if err := json.Unmarshal(line, &head); err != nil {
			return rows, notAnArchive(err)
		}
		if head.End {
			return rows, errors.Join(checkComplete(rows, head.Rows), everyTable(seen, schema))
		}
		// Two archives one after the other would otherwise pass for one.
		if seen[head.Table] {
			return rows, notAnArchive(fmt.Errorf("table %.64q is in it twice", head.Table))
		}
		seen[head.Table] = true
		if load, err = newLoader(head.archiveTable); err != nil {
			return rows, err
		}
	}
}

// everyTable refuses an archive without content, whatever its last line says.
func everyTable(seen map[string]bool, schema int) error {
	for _, t := range tables {
		if !seen[t] && schema >= tableSince[t] {
			return notAnArchive(fmt.Errorf("table %s is missing", t))
		}
	}
	return nil
}

func checkComplete(read, written int64) error {
	if read != written {
		return notAnArchive(fmt.Errorf("%d of %d rows", read, written))
	}
	return nil
}

// loader inserts rows of one table in chunks.
type loader struct {
	into    string
	columns int
	args    []any
}

func newLoader(t archiveTable) (*loader, error) {
	ok := slices.Contains(tables, t.Table) && len(t.Columns) > 0
	for _, c := range t.Columns {
		// Names go into the statement as they are, and an archive is a file from
		// elsewhere.
		ok = ok && c != "" && strings.Trim(c, "abcdefghijklmnopqrstuvwxyz_0123456789") == ""
	}
	if !ok {
		return nil, notAnArchive(fmt.Errorf("table %q", t.Table))
	}
	return &loader{into: t.Table + ` (` + strings.Join(t.Columns, ", ") + `)`, columns: len(t.Columns)}, nil
}

func (s *Store) loadRow(ctx context.Context, tx *sql.Tx, l *loader, line []byte) error {
	var cells []json.RawMessage
	if err := json.Unmarshal(line, &cells); err != nil || len(cells) != l.columns || l.columns == 0 {
		return notAnArchive(err)
	}
	for _, cell := range cells {
		v, err := readCell(cell)
		if err != nil {
			return err
		}
		l.args = append(l.args, v)
	}
	if len(l.args) < chunk*l.columns {
		return nil
	}
	return s.flushRows(ctx, tx, l)
}

func readCell(cell json.RawMessage) (any, error) {
	var err error
	switch cell[0] {
	case '"':
		var s string
		err = json.Unmarshal(cell, &s)
		return s, err
	case '{':
		var b archiveBytes
		err = json.Unmarshal(cell, &b)
		return b.Bytes, err
	}
	var n int64
	if err = json.Unmarshal(cell, &n); err != nil {
		err = notAnArchive(err)
	}
	return n, err
}

func (s *Store) flushRows(ctx context.Context, tx *sql.Tx, l *loader) error {
	if len(l.args) == 0 {
		return nil
	}
	err := s.dialect.insertRows(ctx, tx, bulk{into: l.into, width: l.columns, args: l.args})
	l.args = l.args[:0]
	return err
}
