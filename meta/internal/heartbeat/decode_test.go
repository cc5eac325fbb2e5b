package heartbeat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
	"github.com/ops-updater/ops-updater/meta/internal/heartbeat"
)

func seeds(f *testing.F) {
	for _, s := range []string{
		report, "", "{}", "[]", `{"hostname":"h"}`, `{"hostname":"h","realAgents":[{"name":"a","timestamp":12,"status":"x\"timestamp\":3"}]}`,
		`{"Hostname":"a","hostname":"b"}`, `{"hostname":"h","labels":{"timestamp":"1"}}`, `{"hostname":"h","realAgents":[{"timestamp": 1}]}`,
		`{"hostname":"h","realAgents":[{"timestamp":1e3}]}`, `{"hostname":"h","x":[[[[[]]]]]}`, `{"hostname":"\u0068"}`,
	} {
		f.Add([]byte(s))
	}
}

func FuzzDecodeKeepsLimits(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		req, problems, err := heartbeat.Decode(body, heartbeat.Limits{})
		if err != nil {
			return
		}
		if req.Hostname == "" || len(req.Hostname) > 253 || strings.ContainsAny(req.Hostname, "/\\ \x00\n") {
			t.Fatalf("hostname %q was taken", req.Hostname)
		}
		for _, a := range req.RealAgents {
			if !meta.ValidName(a.Name) || (a.Version != "" && !meta.ValidName(a.Version)) || len(a.Status) > 2048 || len(a.Error) > 2048 {
				t.Fatalf("agent %+v was taken", a)
			}
		}
		if len(req.RealAgents) > 256 || len(req.Labels) > 64 || len(problems) > 10 {
			t.Fatalf("%d agents, %d labels, %d problems were taken", len(req.RealAgents), len(req.Labels), len(problems))
		}
	})
}

var digits = regexp.MustCompile(`("timestamp":)[0-9]+`)

// The short way takes two reports for the same by their bytes but for the
// digits after a timestamp's key. Whatever it takes for the same must decode
// to the same.
func FuzzSteadyIsTheSameReport(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		first, problems, err := heartbeat.Decode(body, heartbeat.Limits{})
		if err != nil {
			return
		}
		fl := fleet.New(fleet.Options{})
		beat := fleet.Beat{Dialect: meta.DialectV1, Body: body}
		if _, err := fl.Report(context.Background(), fleet.Report{Beat: beat, Request: first, Problems: problems}); err != nil {
			t.Fatal(err)
		}
		beat.Body = digits.ReplaceAll(body, []byte("${1}1"))
		if _, steady := fl.Steady(context.Background(), beat); !steady {
			return
		}
		second, _, err := heartbeat.Decode(beat.Body, heartbeat.Limits{})
		if err != nil {
			t.Fatalf("taken for the same, but it is refused: %v\n%s\n%s", err, body, beat.Body)
		}
		for i := range first.RealAgents {
			first.RealAgents[i].Timestamp = 0
		}
		for i := range second.RealAgents {
			second.RealAgents[i].Timestamp = 0
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatalf("taken for the same, but it is not:\n%s", diff)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(report)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := heartbeat.Decode(body, heartbeat.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSteady(b *testing.B) {
	body := bytes.Replace([]byte(report), []byte(`"timestamp":0`), []byte(`"timestamp":0`), 1)
	var req meta.HeartbeatRequest
	if err := json.Unmarshal(body, &req); err != nil {
		b.Fatal(err)
	}
	f := newFleet(3)
	beat := fleet.Beat{Dialect: meta.DialectV1, Remote: "127.0.0.1", Body: body}
	ctx := context.Background()
	if _, err := f.Report(ctx, fleet.Report{Beat: beat, Request: &req}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := f.Steady(ctx, beat); !ok {
			b.Fatal("not steady")
		}
	}
}
