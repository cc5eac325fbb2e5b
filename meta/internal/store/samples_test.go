package store_test

import (
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
)

func TestSamplesAreThinnedOut(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		const minutes = 1000
		for i := range minutes {
			at := start.Add(time.Duration(i) * time.Minute)
			err := s.SaveSamples(t.Context(), []api.Sample{
				{At: at, Agent: "a", Hosts: i, Versions: map[string]int{"1.0": i}},
				{At: at, Agent: "b", Failing: 1},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		now := start.Add(minutes * time.Minute)
		got, err := s.Samples(t.Context(), "a", start)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) < 190 || len(got) > 210 {
			t.Fatalf("%d samples, want about 200", len(got))
		}
		last := got[len(got)-1]
		if last.Hosts != minutes-1 || last.Versions["1.0"] != minutes-1 || !last.At.Equal(start.Add((minutes-1)*time.Minute)) {
			t.Errorf("the newest is %+v", last)
		}
		for i := 1; i < len(got); i++ {
			if !got[i-1].At.Before(got[i].At) {
				t.Fatalf("out of order: %v then %v", got[i-1].At, got[i].At)
			}
		}
		young, err := s.Samples(t.Context(), "a", start.Add(-24*time.Hour))
		if err != nil || len(young) < 190 {
			t.Errorf("asked for more than there is: %d, %v; want about 200", len(young), err)
		}
		recent, err := s.Samples(t.Context(), "", now.Add(-5*time.Minute))
		if err != nil || len(recent) != 10 {
			t.Errorf("last five minutes of both agents: %d, %v; want 10", len(recent), err)
		}
		if err := s.DeleteSamples(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if left, err := s.Samples(t.Context(), "", start); err != nil || len(left) != 0 {
			t.Errorf("left after deletion: %d, %v", len(left), err)
		}
	})
}
