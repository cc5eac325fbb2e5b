package jsonbound_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/jsonbound"
)

func TestCheck(t *testing.T) {
	limits := jsonbound.Limits{Depth: 3, Items: 5}
	for text, want := range map[string]string{
		`{"a":[{"b":1}]}`:                  "",
		`{"a":[{"b":[]}]}`:                 "nested deeper than 3 levels",
		`[1,2,3,4,5]`:                      "",
		`[1,2,3,4,5,6]`:                    "too long: it has more than 5 items",
		`{"a":"[[[[\"{{{{,,,,,,\\\"[[[["}`: "",
		`{"a":"\\"},[[[[`:                  "nested deeper than 3 levels",
		`not JSON`:                         "",
		strings.Repeat("[", 1000):          "nested deeper than 3 levels",
	} {
		got := ""
		if err := jsonbound.Check([]byte(text), limits); err != nil {
			if e := (*jsonbound.Excess)(nil); !errors.As(err, &e) {
				t.Errorf("%.40s: %v is no Excess", text, err)
			}
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.40s: got %q, want %q", text, got, want)
		}
	}
	if err := jsonbound.Check([]byte(strings.Repeat("[", 1000)), jsonbound.Limits{}); err != nil {
		t.Errorf("without limits: %v", err)
	}
}
