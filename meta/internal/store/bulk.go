package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// chunk is how many rows one statement writes.
const chunk = 200

// bulk inserts many rows.
type bulk struct {
	into     string // table and columns: "host_seen (name, seen)"
	computed string // expression for the last of the columns; empty: none
	conflict string // what follows, such as ON CONFLICT
	width    int    // values of a row in args
	args     []any
}

func (d dialect) insertRows(ctx context.Context, q querier, b bulk) error {
	// Bounded: both databases refuse statements with too many parameters.
	for part := range slices.Chunk(b.args, chunk*b.width) {
		query := `INSERT INTO ` + b.into + ` VALUES ` + d.valueRows(len(part)/b.width, b.width, b.computed) + b.conflict
		if _, err := q.ExecContext(ctx, query, part...); err != nil {
			return err
		}
	}
	return nil
}

// valueRows writes "(?, ?), (?, ?)" as the database wants it.
func (d dialect) valueRows(rows, width int, computed string) string {
	var s strings.Builder
	for row := range rows {
		if row > 0 {
			s.WriteString(", ")
		}
		s.WriteByte('(')
		for i := range width {
			if i > 0 {
				s.WriteString(", ")
			}
			s.WriteString(d.parameter(row*width + i + 1))
		}
		if computed != "" {
			s.WriteString(", " + computed)
		}
		s.WriteByte(')')
	}
	return s.String()
}

// parameter is the n-th of a statement with many. SQLite takes time by the
// square of how many parameters have a number, so there they have none.
func (d dialect) parameter(n int) string {
	if d.Postgres {
		return "$" + strconv.Itoa(n)
	}
	return "?"
}
