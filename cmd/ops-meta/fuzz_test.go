package main

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
)

// FuzzStages: stages that are read reach the server, which judges them, as they are.
func FuzzStages(f *testing.F) {
	for _, s := range []string{"1,12.5%,100%", "", "0", "-1", "101%", "NaN%", "1e3", "1,,2", "Inf%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		stages, err := parseStages(text)
		if err != nil {
			return
		}
		said, err := json.Marshal(stages)
		var heard []api.Stage
		if err != nil || json.Unmarshal(said, &heard) != nil || !reflect.DeepEqual(heard, stages) || len(heard) == 0 {
			t.Fatalf("%q is sent as %s and heard as %+v: %v", text, said, heard, err)
		}
	})
}

// FuzzWindow: a window that is read is valid.
func FuzzWindow(f *testing.F) {
	for _, s := range []string{"mon,tue 22:00-06:00 Europe/Berlin", "22:00-06:00", "", "25:00-1:00", "a b c d", "- -"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := parseWindow(text)
		if err == nil && w != nil && w.Validate() != nil {
			t.Fatalf("%q is the window %+v: %v", text, w, w.Validate())
		}
	})
}

// FuzzRate: so is a rate.
func FuzzRate(f *testing.F) {
	for _, s := range []string{"50/10m", "1", "/", "0/1s", "-1/5m", "9223372036854775807/1d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRate(text)
		if err == nil && r != nil && (r.Hosts <= 0 || r.Period <= 0) {
			t.Fatalf("%q is the rate %+v", text, r)
		}
	})
}
