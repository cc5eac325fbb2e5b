// Package exposition writes metrics in the Prometheus text format: families in
// order, each with its HELP and TYPE. The metrics library writes neither, and
// the official client would cost the sidecar a third of its memory.
package exposition

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// ContentType is that of what [Write] writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Type is what kind of numbers a family has.
type Type string

// The types of families.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Family is all samples of one name. Help says what they are and their unit.
type Family struct {
	Name string
	Type Type
	Help string
}

// Process are the few process metrics that alerts are made of, of the
// hundreds that the library knows.
func Process() []Family {
	return []Family{
		{"process_resident_memory_bytes", Gauge, "Resident memory."},
		{"process_resident_memory_anon_bytes", Gauge, "Resident memory that is backed by no file."},
		{"process_cpu_seconds_total", Counter, "CPU time used."},
		{"process_open_fds", Gauge, "Open file descriptors."},
		{"process_max_fds", Gauge, "File descriptors that may be open."},
		{"process_start_time_seconds", Gauge, "Start of the process, Unix time."},
		{"go_goroutines", Gauge, "Goroutines."},
		{"go_memstats_heap_inuse_bytes", Gauge, "Heap in use."},
	}
}

// Write writes the samples of text, one a line, family by family. A sample of
// no family is left out, and so is a family without samples.
func Write(w io.Writer, families []Family, text []byte) error {
	samples := make(map[string]*bytes.Buffer, len(families))
	names := make(map[string]string, len(families)) // of families, by what their samples are called
	for _, f := range families {
		samples[f.Name] = &bytes.Buffer{}
		for _, name := range f.sampleNames() {
			names[name] = f.Name
		}
	}
	for line := range strings.Lines(string(text)) {
		name := line[:max(strings.IndexAny(line, "{ "), 0)]
		if family := names[name]; family != "" {
			samples[family].WriteString(line)
		}
	}
	for _, f := range families {
		if samples[f.Name].Len() == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s", f.Name, f.Help, f.Name, f.Type, samples[f.Name]); err != nil {
			return err
		}
	}
	return nil
}

func (f Family) sampleNames() []string {
	if f.Type == Histogram {
		return []string{f.Name + "_bucket", f.Name + "_sum", f.Name + "_count"}
	}
	return []string{f.Name}
}

// maxLabel bounds a label's value: some come from control scripts.
const maxLabel = 200

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// Labels are names and values as a sample has them, each name before its
// value; empty without any.
func Labels(pairs ...string) string {
	if len(pairs) == 0 {
		return ""
	}
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		value := printable.Text(pairs[i+1])
		if len(value) > maxLabel {
			value = strings.ToValidUTF8(value[:maxLabel], "")
		}
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0] + pairs[i] + `="` + escaper.Replace(value) + `"`)
	}
	return b.String() + "}"
}
