package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

// SaveSamples stores how agents stood over the fleet. A second sample of the
// same agent and moment is ignored.
func (s *Store) SaveSamples(ctx context.Context, samples []api.Sample) error {
	return s.inTx(ctx, "write samples", func(tx *sql.Tx) error {
		for _, sample := range samples {
			doc, err := json.Marshal(sample)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO samples (agent, time, doc) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
				cleanText(sample.Agent), toMicros(sample.At), string(doc))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Samples lists samples since a time, of one agent or of all, the oldest
// first: of each agent the last in every two hundredth of the time that there
// are samples of, since more cannot be told apart in a chart.
func (r Reader) Samples(ctx context.Context, agent string, since time.Time) ([]api.Sample, error) {
	w := where{}
	w.equal("agent", cleanText(agent))
	w.inPeriod("time", since, time.Time{})
	first := fmt.Sprintf("(SELECT MIN(time) FROM samples WHERE time >= %d)", toMicros(since))
	part := "(time - " + first + ") * 200 / (SELECT MAX(time) - " + first + " + 1 FROM samples)"
	query := `SELECT doc FROM samples JOIN (SELECT agent AS a, MAX(time) AS t FROM samples` + w.sql() + ` GROUP BY agent, ` + part +
		`) newest ON agent = a AND time = t ORDER BY time, agent`
	samples, err := listAll(ctx, r.q, "list samples", query, w.args, func(rows *sql.Rows) (sample api.Sample, err error) {
		var doc sql.RawBytes
		if err := rows.Scan(&doc); err != nil {
			return sample, err
		}
		if err := json.Unmarshal(doc, &sample); err != nil {
			return sample, &api.Error{Kind: api.KindInternal, Message: "cannot decode stored sample", Err: err}
		}
		return sample, nil
	})
	return append([]api.Sample{}, samples...), err // none are an empty list
}

// DeleteSamples deletes samples from before a time, and those that a clock which
// was ahead has left in the future.
func (s *Store) DeleteSamples(ctx context.Context, before time.Time) error {
	return s.execWrite(ctx, "delete old samples", `DELETE FROM samples WHERE time < $1 OR time > $2`, toMicros(before), toMicros(time.Now().Add(time.Hour)))
}
