package matrix

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"
	"testing"
	"time"
)

// result is how a cell ended.
type result struct {
	Cell    string  `json:"cell"`
	Passed  bool    `json:"passed"`
	Skipped bool    `json:"skipped,omitempty"`
	Seconds float64 `json:"seconds"`
	Seed    uint64  `json:"seed"`
}

// results is a file of them, a line each, or nothing.
type results struct {
	mu     sync.Mutex
	path   string
	passed map[string]bool
}

func openResults(t *testing.T) *results {
	r := &results{path: os.Getenv("OPS_UPDATER_MATRIX_RESULTS"), passed: map[string]bool{}}
	if r.path == "" {
		return r
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_RDONLY, 0o644)
	must(t, err)
	defer func() { _ = f.Close() }()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var one result
		if json.Unmarshal(sc.Bytes(), &one) == nil {
			r.passed[one.Cell] = one.Passed
		}
	}
	return r
}

// has reports whether the cell passed before.
func (r *results) has(cell string) bool { return r.passed[cell] }

func (r *results) add(t *testing.T, cell string, took time.Duration) {
	if r.path == "" {
		return
	}
	line, err := json.Marshal(result{Cell: cell, Passed: !t.Failed() && !t.Skipped(), Skipped: t.Skipped(), Seconds: took.Seconds(), Seed: seed})
	must(t, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.OpenFile(r.path, os.O_APPEND|os.O_WRONLY, 0o644)
	must(t, err)
	_, err = f.Write(append(line, '\n'))
	must(t, err)
	must(t, f.Close())
}
