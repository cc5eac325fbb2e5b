package child_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/updater/child"
	"github.com/ops-updater/ops-updater/updater/job"
)

// serve starts a child in this process and returns what a parent has of it.
func serve(t *testing.T) (ask func(job.Job) job.Line, end func() error) {
	t.Helper()
	in, jobs := io.Pipe()
	lines, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(child.Serve(t.Context(), in, out), out.Close()) }()
	answers := json.NewDecoder(lines)
	ask = func(j job.Job) (l job.Line) {
		t.Helper()
		if err := json.NewEncoder(jobs).Encode(j); err != nil {
			t.Fatal(err)
		}
		for l.Result == nil && l.Error == nil {
			l = job.Line{}
			if err := answers.Decode(&l); err != nil {
				t.Fatal(err)
			}
		}
		return l
	}
	return ask, func() error { _ = jobs.Close(); return <-ended }
}

func TestOneChildDoesOneJobAfterTheOther(t *testing.T) {
	dir := job.Dir{Path: filepath.Join(t.TempDir(), "falcon"), Name: "falcon"}
	version := filepath.Join(dir.Path, "1.0.0")
	if err := os.MkdirAll(version, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(version, "control"), []byte("#!/bin/sh\necho stoped\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ask, end := serve(t)
	if l := ask(job.Job{Op: job.OpActivate, Dir: dir, Version: "2.0.0"}); l.Error == nil || l.Error.Code != job.CodeIncomplete {
		t.Errorf("a version that is not there: %+v", l.Error)
	}
	if l := ask(job.Job{Op: job.OpActivate, Dir: dir, Version: "1.0.0"}); l.Error != nil {
		t.Errorf("activate: %v", l.Error)
	}
	if now, err := os.ReadFile(filepath.Join(dir.Path, ".version")); string(now) != "1.0.0" {
		t.Errorf(".version holds %q, %v", now, err)
	}
	if l := ask(job.Job{Op: "dance", Dir: dir}); l.Error == nil || !strings.Contains(l.Error.Message, `"dance"`) {
		t.Errorf("an operation of another version: %+v", l)
	}
	if err := end(); err != nil {
		t.Errorf("the child ended with %v", err)
	}
}
