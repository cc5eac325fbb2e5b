package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is a file of ours.
type source struct {
	path string
	file *ast.File
}

// sources are all Go files of the repository but tests, those of modules within it
// too.
func sources(t *testing.T, files *token.FileSet) (all []source) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"bin", "dist", "testdata"}, d.Name())) {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		all = append(all, source{path, file})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 100 {
		t.Fatalf("only %d sources were found", len(all))
	}
	return all
}

// variableScripts are the files that may give a shell a script which is no constant,
// each with its reason.
var variableScripts = map[string]string{
	"scripts/benchinstall/bench.go": "measures curl|tar and wget+tar, one constant script each, chosen from a table",
}

func TestNothingOfOursIsUnsafe(t *testing.T) {
	files := token.NewFileSet()
	for _, s := range sources(t, files) {
		for _, what := range unsafeIn(s.file) {
			t.Errorf("%s: %s", s.path, what)
		}
	}
}

func TestNoShellCommandIsBuiltFromStrings(t *testing.T) {
	files := token.NewFileSet()
	used := map[string]bool{}
	for _, s := range sources(t, files) {
		for _, at := range builtScripts(s.file) {
			if used[s.path] = true; variableScripts[s.path] == "" {
				t.Errorf("%s: a shell is given a script that is no constant", files.Position(at))
			}
		}
	}
	for path := range variableScripts {
		if !used[path] {
			t.Errorf("%s is excepted and need not be", path)
		}
	}
}

// The rules find what they are about.
func TestTheRulesAboutSourcesFindTheirCases(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		unsafe int
		built  int
	}{
		"unsafe":               {`import "unsafe"; var _ unsafe.Pointer`, 1, 0},
		"linkname":             {"import _ \"embed\"\n//go:linkname now time.now\nfunc now()", 1, 0},
		"cgo":                  {`import "C"`, 1, 0},
		"constant script":      {`import "os/exec"; var _ = exec.Command("sh", "-c", "exit 1")`, 0, 0},
		"named constant":       {"import \"os/exec\"\nconst script = \"true\"\nvar _ = exec.Command(\"/bin/sh\", \"-euc\", script)", 0, 0},
		"joined":               {`import "os/exec"; func f(s string) { exec.Command("bash", "-c", "rm "+s) }`, 0, 1},
		"a variable":           {`import "os/exec"; func f(s string) { exec.CommandContext(nil, "/usr/bin/env", "sh", "-e", "-c", s) }`, 0, 1},
		"in a list":            {`var f = func(s string) []string { return []string{"sh", "-c", s} }`, 0, 1},
		"path and arguments":   {`type c struct { Path string; Args []string }; func f(s string) c { return c{Path: "/bin/sh", Args: []string{"-c", s}} }`, 0, 1},
		"no shell":             {`import "os/exec"; func f(s string) { exec.Command("ops-updater", "-c", s) }`, 0, 0},
		"arguments of a shell": {`import "os/exec"; func f(s string) { exec.Command("sh", "-c", "echo $1", "sh", s) }`, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+c.text, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if got := unsafeIn(file); len(got) != c.unsafe {
				t.Errorf("unsafe: %v", got)
			}
			if got := builtScripts(file); len(got) != c.built {
				t.Errorf("built scripts: %v", got)
			}
		})
	}
}

// unsafeIn lists what goes round the rules of the language.
func unsafeIn(file *ast.File) (found []string) {
	for _, imported := range file.Imports {
		if path, _ := strconv.Unquote(imported.Path.Value); path == "unsafe" || path == "C" {
			found = append(found, "imports "+path)
		}
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:linkname") {
				found = append(found, c.Text)
			}
		}
	}
	return found
}

var shells = []string{"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"}

// builtScripts are the places where a shell is given a script with -c that is not
// spelled out: as arguments of a call, as elements of a list, or as path and
// arguments of a struct.
func builtScripts(file *ast.File) (at []token.Pos) {
	constants := constantsOf(file)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			at = append(at, scriptsIn(n.Args, false, constants)...)
		case *ast.CompositeLit:
			shell := slices.ContainsFunc(n.Elts, func(e ast.Expr) bool {
				pair, ok := e.(*ast.KeyValueExpr)
				return ok && isShell(pair.Value)
			})
			if !shell {
				at = append(at, scriptsIn(n.Elts, false, constants)...)
				return true
			}
			for _, e := range n.Elts {
				if list, ok := e.(*ast.KeyValueExpr).Value.(*ast.CompositeLit); ok {
					at = append(at, scriptsIn(list.Elts, true, constants)...)
				}
			}
		}
		return true
	})
	return at
}

// scriptsIn looks for a shell, unless it is known to be before, an option with c and
// what follows that.
func scriptsIn(list []ast.Expr, shell bool, constants map[string]bool) (at []token.Pos) {
	for i, e := range list {
		option, _ := text(e)
		switch {
		case isShell(e):
			shell = true
		case shell && strings.HasPrefix(option, "-") && !strings.HasPrefix(option, "--") && strings.HasSuffix(option, "c") && i+1 < len(list):
			if !isConstant(list[i+1], constants) {
				at = append(at, list[i+1].Pos())
			}
			return at
		}
	}
	return at
}

func isShell(e ast.Expr) bool {
	s, ok := text(e)
	return ok && slices.Contains(shells, filepath.Base(s))
}

func text(e ast.Expr) (string, bool) {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(literal.Value)
	return s, err == nil
}

func isConstant(e ast.Expr, constants map[string]bool) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return constants[e.Name]
	case *ast.ParenExpr:
		return isConstant(e.X, constants)
	case *ast.BinaryExpr:
		return isConstant(e.X, constants) && isConstant(e.Y, constants)
	}
	return false
}

// constantsOf are the constants of a file's top level.
func constantsOf(file *ast.File) map[string]bool {
	names := map[string]bool{}
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			for _, spec := range g.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					names[name.Name] = true
				}
			}
		}
	}
	return names
}

// decoders are the packages that read bytes of others: what a decoder is called in
// tells. They need a fuzz target, or a reason why not.
var decoders = map[string][]string{
	"encoding/json":                   {"Unmarshal", "NewDecoder"},
	"encoding/base64":                 {},
	"archive/tar":                     {"NewReader"},
	"github.com/goccy/go-yaml/parser": {"ParseBytes"},
	"bufio":                           {"NewScanner"},
	"net/url":                         {"Parse"},
	"time":                            {"ParseDuration"},
}

// unfuzzed are packages that decode and have no target, each with its reason.
var unfuzzed = map[string]string{
	"meta/internal/pgtest":  "reads the address of the database that tests are lent",
	"internal/hostlab":      "a test",
	"meta/internal/keyring": "decodes a list of keys that meta/trust has read before, which has FuzzSignedList",
	"internal/soak":         "a test",
	"meta/internal/backend": "decodes a note that it wrote itself, beside the database",
	"meta/server":           "reads settings of whoever starts it",
	"updater":               "its state files are decoded into the types of updater/plan, which has the targets",
	"updater/child":         "reads jobs of the resident process, which started it",
	"updater/pool":          "reads answers of children, one JSON line of bounded length each, into the types of updater/job",
	"updater/takeover":      "reads state that the sidecar before it wrote, in a directory of its own user",
	"scripts/benchmeta":     "a measurement",
	"scripts/fleetsim/sim":  "a simulator",
}

func TestEveryPackageThatDecodesHasAFuzzTarget(t *testing.T) {
	files := token.NewFileSet()
	decodes := map[string]string{} // package → what it calls
	for _, s := range sources(t, files) {
		names := map[string]string{}
		for _, imported := range s.file.Imports {
			path, _ := strconv.Unquote(imported.Path.Value)
			name := filepath.Base(path)
			if imported.Name != nil {
				name = imported.Name.Name
			}
			names[name] = path
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if of, ok := call.X.(*ast.Ident); ok && slices.Contains(decoders[names[of.Name]], call.Sel.Name) {
				decodes[filepath.ToSlash(filepath.Dir(s.path))] = of.Name + "." + call.Sel.Name
			}
			return true
		})
	}
	targets := fuzzTargets(t)
	for pkg, what := range decodes {
		if len(targets[pkg]) == 0 && unfuzzed[pkg] == "" {
			t.Errorf("%s calls %s and has no fuzz target: add one, or say in unfuzzed why it needs none", pkg, what)
		}
	}
	for pkg := range unfuzzed {
		if decodes[pkg] == "" || len(targets[pkg]) > 0 {
			t.Errorf("%s is in the list of packages without a fuzz target and need not be", pkg)
		}
	}
}

// fuzzTargets are the names of the fuzz targets of each package.
func fuzzTargets(t *testing.T) map[string][]string {
	t.Helper()
	targets := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Fuzz") {
				pkg := filepath.ToSlash(filepath.Dir(path))
				targets[pkg] = append(targets[pkg], f.Name.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return targets
}
