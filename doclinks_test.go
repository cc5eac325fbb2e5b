package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docLink is a name in brackets in a comment: [Run], [Engine.Run], [*Error],
// [job.Error].
var docLink = regexp.MustCompile(`(?:^|[^\w])\[\*?((?:[a-z]\w*\.)?[A-Z]\w*(?:\.[A-Z]\w*)?)\](?:[^(\w]|$)`)

// docPackage is a package as far as doc links are about it.
type docPackage struct {
	names    map[string]bool   // Run, Engine, Engine.Run
	comments map[string]string // where → text
}

func readDocPackages(t *testing.T) map[string]*docPackage {
	t.Helper()
	packages := map[string]*docPackage{}
	files := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && (e.Name() == "testdata" || strings.HasPrefix(e.Name(), ".") && path != ".") {
			return skipDirectory(err)
		}
		if e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		if packages[dir] == nil {
			packages[dir] = &docPackage{names: map[string]bool{}, comments: map[string]string{}}
		}
		packages[dir].addFile(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// skipDirectory is for a directory with nothing for us in it.
func skipDirectory(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}

func (p *docPackage) addFile(files *token.FileSet, f *ast.File) {
	for _, c := range f.Comments {
		p.comments[files.Position(c.Pos()).String()] = c.Text()
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			p.names[receiverOf(d)+d.Name.Name] = true
		case *ast.GenDecl:
			for _, s := range d.Specs {
				p.addSpec(s)
			}
		}
	}
}

func (p *docPackage) addSpec(s ast.Spec) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			p.names[n.Name] = true
		}
	case *ast.TypeSpec:
		p.names[s.Name.Name] = true
		members := &ast.FieldList{}
		switch kind := s.Type.(type) {
		case *ast.StructType:
			members = kind.Fields
		case *ast.InterfaceType:
			members = kind.Methods
		}
		for _, m := range members.List {
			for _, n := range m.Names {
				p.names[s.Name.Name+"."+n.Name] = true
			}
		}
	}
}

func receiverOf(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	kind := d.Recv.List[0].Type
	if star, ok := kind.(*ast.StarExpr); ok {
		kind = star.X
	}
	if id, ok := kind.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}

// TestDocLinksLeadSomewhere: what a comment has in brackets is declared in its
// package, or in the package of this module that it names.
func TestDocLinksLeadSomewhere(t *testing.T) {
	packages := readDocPackages(t)
	byName := map[string][]*docPackage{}
	for dir, p := range packages {
		byName[filepath.Base(dir)] = append(byName[filepath.Base(dir)], p)
	}
	for _, p := range packages {
		for where, text := range p.comments {
			for _, m := range docLink.FindAllStringSubmatch(text, -1) {
				other, name, qualified := strings.Cut(m[1], ".")
				switch {
				case p.names[m[1]]:
				case qualified && byName[other] != nil && declares(byName[other], name):
				case qualified && byName[other] == nil && strings.ToLower(other) == other: // another module's
				default:
					t.Errorf("%s: [%s] leads nowhere", where, m[1])
				}
			}
		}
	}
}

func declares(packages []*docPackage, name string) bool {
	for _, p := range packages {
		if p.names[name] {
			return true
		}
	}
	return false
}

// fileName is a source file that a document names with its directory.
var fileName = regexp.MustCompile("`([a-z][\\w/.-]*/[\\w.-]+\\.go)`")

func TestFilesThatDocumentsNameAreThere(t *testing.T) {
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fileName.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s names %s, which is not there", doc, m[1])
			}
		}
	}
}
