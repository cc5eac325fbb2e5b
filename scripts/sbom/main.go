// Command sbom writes what programs are made of, as CycloneDX: every module that the
// compiler linked in, as the programs say themselves. The same programs make the same
// bytes.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// bom is a bill of materials, CycloneDX 1.5.
type bom struct {
	Schema     string      `json:"$schema"`
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
	Hashes  []hash `json:"hashes,omitempty"`
}

type hash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

func main() {
	version := flag.String("version", "", "of the release")
	at := flag.Int64("time", 0, "of the release, in seconds since 1970")
	flag.Parse()
	if err := write(*version, time.Unix(*at, 0), flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func write(version string, at time.Time, programs []string) error {
	all := map[string]component{}
	main := ""
	for _, program := range programs {
		info, err := buildinfo.ReadFile(program)
		if err != nil {
			return fmt.Errorf("cannot read what %s is made of: %w", program, err)
		}
		main = info.Main.Path
		all["std"] = component{
			Type: "library", Ref: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"), Name: "std",
			Version: info.GoVersion, PURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"),
		}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			all[m.Path+"@"+m.Version] = moduleOf(m)
		}
		own, err := programOf(program, version)
		if err != nil {
			return err
		}
		all[own.Ref] = own
	}
	b := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.5.schema.json", Format: "CycloneDX", Spec: "1.5", Version: 1,
		Metadata: metadata{Timestamp: at.UTC().Format(time.RFC3339), Component: component{
			Type: "application", Ref: "pkg:golang/" + main + "@" + version, Name: main, Version: version, PURL: "pkg:golang/" + main + "@" + version,
		}},
	}
	for _, c := range all {
		b.Components = append(b.Components, c)
	}
	slices.SortFunc(b.Components, func(x, y component) int { return strings.Compare(x.Ref, y.Ref) })
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(b)
}

// moduleOf is a module with the hash that go.sum has of it, in hex.
func moduleOf(m *debug.Module) component {
	c := component{Type: "library", Name: m.Path, Version: m.Version, PURL: "pkg:golang/" + m.Path + "@" + m.Version}
	c.Ref = c.PURL
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) == sha256.Size {
		c.Hashes = []hash{{Alg: "SHA-256", Content: hex.EncodeToString(sum)}}
	}
	return c
}

// programOf is a program, named by the directory that it lies in, with its digest.
func programOf(path, version string) (component, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return component{}, err
	}
	sum := sha256.Sum256(data)
	parts := strings.Split(path, "/")
	name := strings.Join(parts[max(len(parts)-2, 0):], "/")
	return component{Type: "file", Ref: "file:" + name, Name: name, Version: version, Hashes: []hash{{Alg: "SHA-256", Content: hex.EncodeToString(sum[:])}}}, nil
}
