package unpack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ops-updater/ops-updater/internal/unpack"
)

const script = "#!/bin/sh\necho started\n"

// member is a tar header with its content; the zero Typeflag is a regular file.
type member struct {
	tar.Header
	content string
}

func file(name, content string) member {
	return member{tar.Header{Name: name, Mode: 0o644}, content}
}

func dir(name string) member {
	return member{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
}

func symlink(name, target string) member {
	return member{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}}
}

func hardlink(name, target string) member {
	return member{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, Mode: 0o644}}
}

func special(name string, typeflag byte) member {
	return member{Header: tar.Header{Name: name, Typeflag: typeflag, Mode: 0o644}}
}

func mode(m member, bits int64) member { m.Mode = bits; return m }

func control() member { return mode(file("control", script), 0o755) }

func rawTar(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		m.Size = int64(len(m.content))
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatalf("header of %q: %v", m.Name, err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zip(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarball(t testing.TB, members ...member) []byte { return zip(t, rawTar(t, members...)) }

func small() unpack.Limits {
	return unpack.Limits{MaxFiles: 50, MaxBytes: 1 << 20, MaxPath: 300, MaxDepth: 10}
}

// read unpacks into maps of contents and of entries without their bodies.
func read(archive io.Reader) (map[string]string, map[string]unpack.Entry, unpack.Summary, error) {
	contents, entries := map[string]string{}, map[string]unpack.Entry{}
	sum, err := unpack.Release(context.Background(), archive, small(), func(e unpack.Entry) error {
		if e.Kind == unpack.File {
			b, err := io.ReadAll(e.Body)
			if err != nil {
				return err
			}
			contents[e.Path] = string(b)
		}
		e.Body = nil
		entries[e.Path] = e
		return nil
	})
	return contents, entries, sum, err
}

func TestReleaseHandsOutEveryEntry(t *testing.T) {
	long := strings.Repeat("long-name-", 15) + "/" + strings.Repeat("x", 120) // needs PAX
	gnu := member{tar.Header{Name: "gnu/" + strings.Repeat("y", 150), Mode: 0o600, Format: tar.FormatGNU}, "gnu"}
	stamp := time.Unix(1_500_000_000, 0)
	dated := file("dated", "d")
	dated.ModTime = stamp
	archive := tarball(t, dir("./"), mode(file("./control", script), 0o755), dir("lib/"), file("lib/a//b/./c", "abc"), dir("lib/a/"),
		file(long, "long"), gnu, symlink("lib/link", "../control"), symlink("log", "not-yet/there"), hardlink("hard", "./control"), dated,
		file("Ünïcode ⊕", "u"), file("empty", ""))
	contents, entries, sum, err := read(iotest.OneByteReader(bytes.NewReader(archive)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"control": script, "lib/a/b/c": "abc", long: "long", gnu.Name: "gnu", "dated": "d", "Ünïcode ⊕": "u", "empty": ""}
	if diff := cmp.Diff(want, contents); diff != "" {
		t.Error("contents (-want +got):\n" + diff)
	}
	if !entries["dated"].ModTime.Equal(stamp) || entries["control"].Mode != 0o755 || entries[gnu.Name].Mode != 0o600 {
		t.Errorf("metadata is lost: %+v", entries)
	}
	if entries["lib/link"].Target != "../control" || entries["hard"].Target != "control" {
		t.Errorf("links: %+v %+v", entries["lib/link"], entries["hard"])
	}
	wantSum := unpack.Summary{Files: 8, Dirs: 5, Links: 2, Bytes: int64(len(script) + 3 + 4 + 3 + 1 + 1)}
	if diff := cmp.Diff(wantSum, sum); diff != "" {
		t.Error("summary (-want +got):\n" + diff)
	}
}

// TestI4HostileArchivesAreRefused holds the archive rows of the attack table.
func TestI4HostileArchivesAreRefused(t *testing.T) {
	many := []member{control()}
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		many = append(many, file(string(c)+"/"+string(c), ""))
	}
	deep := strings.Repeat("d/", 10) + "f"
	cases := map[string]struct {
		archive []byte
		want    unpack.Reason
	}{
		"parent path":                    {tarball(t, control(), file("../evil", "x")), unpack.BadPath},
		"parent in the middle":           {tarball(t, control(), file("a/../../evil", "x")), unpack.BadPath},
		"parent that stays inside":       {tarball(t, control(), file("a/../b", "x")), unpack.BadPath},
		"absolute path":                  {tarball(t, control(), file("/etc/evil", "x")), unpack.BadPath},
		"absolute after dot":             {tarball(t, control(), file(".//../etc/evil", "x")), unpack.BadPath},
		"newline in a path":              {tarball(t, control(), file("a\nb", "x")), unpack.BadPath},
		"escape in a path":               {tarball(t, control(), file("a\x1b[2Jb", "x")), unpack.BadPath},
		"not UTF-8":                      {tarball(t, control(), file("a\xffb", "x")), unpack.BadPath},
		"root is a file":                 {tarball(t, control(), file(".", "x")), unpack.BadPath},
		"symlink to parent":              {tarball(t, control(), symlink("l", "../x")), unpack.LinkEscapes},
		"absolute symlink":               {tarball(t, control(), symlink("l", "/etc/passwd")), unpack.LinkEscapes},
		"symlink out after a detour":     {tarball(t, control(), symlink("l", "a/b/../../../x")), unpack.LinkEscapes},
		"symlink out through a link":     {tarball(t, control(), dir("a/"), dir("a/b/"), symlink("a/b/up", "../.."), symlink("l", "a/b/up/../x")), unpack.LinkEscapes},
		"symlink out, later link":        {tarball(t, control(), symlink("l", "a/b/up/../x"), dir("a/"), dir("a/b/"), symlink("a/b/up", "../..")), unpack.LinkEscapes},
		"symlink loop":                   {tarball(t, control(), symlink("a", "b"), symlink("b", "a")), unpack.BadLink},
		"write through a symlink":        {tarball(t, control(), symlink("d", "."), file("d/f", "x")), unpack.BelowFile},
		"write below a file":             {tarball(t, control(), file("f", "x"), file("f/g", "x")), unpack.BelowFile},
		"file replaced by a link":        {tarball(t, control(), file("f", "x"), symlink("f", "control")), unpack.Duplicate},
		"hard link out":                  {tarball(t, control(), hardlink("h", "../../etc/passwd")), unpack.LinkEscapes},
		"absolute hard link":             {tarball(t, control(), hardlink("h", "/etc/passwd")), unpack.LinkEscapes},
		"hard link to nothing":           {tarball(t, control(), hardlink("h", "later"), file("later", "x")), unpack.BadLink},
		"hard link to a symlink":         {tarball(t, control(), symlink("s", "control"), hardlink("h", "s")), unpack.BadLink},
		"character device":               {tarball(t, control(), special("c", tar.TypeChar)), unpack.SpecialFile},
		"block device":                   {tarball(t, control(), special("b", tar.TypeBlock)), unpack.SpecialFile},
		"FIFO":                           {tarball(t, control(), special("p", tar.TypeFifo)), unpack.SpecialFile},
		"socket or another vendor type":  {tarball(t, control(), special("v", 'Z')), unpack.SpecialFile},
		"setuid":                         {tarball(t, control(), mode(file("su", "x"), 0o4755)), unpack.SpecialBits},
		"setgid":                         {tarball(t, control(), mode(file("sg", "x"), 0o2755)), unpack.SpecialBits},
		"sticky directory":               {tarball(t, control(), mode(dir("tmp/"), 0o1777)), unpack.SpecialBits},
		"duplicate file":                 {tarball(t, control(), file("f", "1"), file("./f", "2")), unpack.Duplicate},
		"duplicate control":              {tarball(t, control(), mode(file("control", "#!/bin/evil\n"), 0o755)), unpack.Duplicate},
		"duplicate root":                 {tarball(t, dir("./"), control(), dir("./")), unpack.Duplicate},
		"case collision":                 {tarball(t, control(), file("README", "1"), file("readme", "2")), unpack.CaseCollision},
		"case collision of directories":  {tarball(t, control(), file("Lib/a", "1"), file("lib/b", "2")), unpack.CaseCollision},
		"case collision, Kelvin sign":    {tarball(t, control(), file("k", "1"), file("\u212a", "2")), unpack.CaseCollision},
		"too many files":                 {tarball(t, many...), unpack.TooManyFiles},
		"too many bytes":                 {tarball(t, control(), file("big", strings.Repeat("x", 1<<20+1))), unpack.TooManyBytes},
		"too many bytes together":        {tarball(t, control(), file("a", strings.Repeat("x", 6<<17)), file("b", strings.Repeat("x", 6<<17))), unpack.TooManyBytes},
		"bomb after the archive":         {zip(t, append(rawTar(t, control()), make([]byte, 2<<20)...)), unpack.TooManyBytes},
		"path too long":                  {tarball(t, control(), file(strings.Repeat("a/", 200)+"f", "x")), unpack.PathTooLong},
		"component too long":             {tarball(t, control(), file(strings.Repeat("a", 256), "x")), unpack.PathTooLong},
		"link target too long":           {tarball(t, control(), symlink("l", strings.Repeat("a", 301))), unpack.PathTooLong},
		"too deep":                       {tarball(t, control(), file(deep, "x")), unpack.TooDeep},
		"sparse, old GNU":                {zip(t, oldSparse(t)), unpack.Sparse},
		"cut in a member":                {cut(tarball(t, control(), file("f", noise(4096))), 600), unpack.Truncated},
		"cut before the checksum":        {cut(tarball(t, control()), 8), unpack.Truncated},
		"cut within the checksum":        {cut(tarball(t, control()), 3), unpack.Truncated},
		"end marker missing":             {zip(t, cut(rawTar(t, control()), 1024)), unpack.Truncated},
		"half an end marker":             {zip(t, cut(rawTar(t, control()), 512)), unpack.Truncated},
		"empty":                          {nil, unpack.Truncated},
		"data after the archive":         {zip(t, append(rawTar(t, control()), "evil"...)), unpack.TrailingData},
		"second archive after it":        {zip(t, append(rawTar(t, control()), rawTar(t, file("f", "x"))...)), unpack.TrailingData},
		"data after the gzip stream":     {append(tarball(t, control()), "trailing garbage"...), unpack.TrailingData},
		"a letter after the gzip stream": {append(tarball(t, control()), 'x'), unpack.TrailingData},
		"half a header after it":         {append(tarball(t, control()), "\x1f\x8b\x08"...), unpack.Truncated},
		"zeros after the gzip stream":    {append(tarball(t, control()), make([]byte, 512)...), unpack.TrailingData},
		"wrong checksum":                 {flip(tarball(t, control()), 8), unpack.Corrupt},
		"an HTML page":                   {[]byte("<html><body>404, but with status 200</body></html>"), unpack.Corrupt},
		"a few letters":                  {[]byte("hi"), unpack.Corrupt},
		"one letter":                     {[]byte("x"), unpack.Corrupt},
		"the beginning of gzip":          {[]byte("\x1f"), unpack.Truncated},
		"a gzip header cut short":        {[]byte("\x1f\x8b\x08\x00\x00"), unpack.Truncated},
		"gzip, but no tar":               {zip(t, []byte(noise(2048))), unpack.Corrupt},
		"no control":                     {tarball(t, file("README", "x")), unpack.NoControl},
		"control one level down":         {tarball(t, dir("agent/"), mode(file("agent/control", script), 0o755)), unpack.NoControl},
		"control without execute bit":    {tarball(t, file("control", script)), unpack.BadControl},
		"control with CRLF":              {tarball(t, mode(file("control", "#!/bin/sh\r\necho\r\n"), 0o755)), unpack.BadControl},
		"control without interpreter":    {tarball(t, mode(file("control", "echo started\n"), 0o755)), unpack.BadControl},
		"control with empty shebang":     {tarball(t, mode(file("control", "#! \n"), 0o755)), unpack.BadControl},
		"control empty":                  {tarball(t, mode(file("control", ""), 0o755)), unpack.BadControl},
		"control is a directory":         {tarball(t, dir("control/")), unpack.BadControl},
		"control is a link":              {tarball(t, mode(file("c", script), 0o755), symlink("control", "c")), unpack.BadControl},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			_, _, _, err := read(bytes.NewReader(cases[name].archive))
			var refused *unpack.Error
			if !errors.As(err, &refused) || refused.Reason != cases[name].want {
				t.Fatalf("got %v, want reason %s", err, cases[name].want)
			}
			if !strings.Contains(err.Error(), string(refused.Reason)) {
				t.Errorf("the message %q does not carry the reason", err)
			}
		})
	}
}

// TestOtherLegalFormsAreRead holds what looks odd but is in the field.
func TestOtherLegalFormsAreRead(t *testing.T) {
	raw := rawTar(t, control(), file("f", "content"))
	cases := map[string][]byte{
		"two gzip members":        append(zip(t, raw[:700]), zip(t, raw[700:])...),
		"padded to a tar record":  zip(t, append(slices.Clone(raw), make([]byte, 10240)...)),
		"pax global header first": tarball(t, member{Header: tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "c"}}}, control()),
		"control is a program":    tarball(t, mode(file("control", "\x7fELF…"), 0o755)),
		"link to the root":        tarball(t, control(), symlink("self", "."), dir("d/"), symlink("d/up", "..")),
		"link through a link":     tarball(t, control(), symlink("cur", "v1"), dir("v1/"), symlink("bin", "cur/../v1")),
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			if _, _, _, err := read(bytes.NewReader(cases[name])); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestErrorsOfOthersAreNotTheArchives(t *testing.T) {
	broken := errors.New("connection reset")
	archive := tarball(t, control(), file("f", noise(100_000)))
	_, _, _, err := read(io.MultiReader(bytes.NewReader(archive[:50_000]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("reader: got %v, want %v", err, broken)
	}
	_, err = unpack.Stream(context.Background(), bytes.NewReader(archive), small(), func(unpack.Entry) error { return fs.ErrPermission })
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("handler: got %v, want %v", err, fs.ErrPermission)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = unpack.Stream(ctx, bytes.NewReader(archive), small(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	if _, err = unpack.Stream(context.Background(), bytes.NewReader(archive), unpack.Limits{}, nil); err == nil {
		t.Error("limits of zero are accepted")
	}
}

// noise does not compress and is the same every time.
func noise(n int) string {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return string(b)
}

func cut(b []byte, n int) []byte { return b[:len(b)-n] }

// flip changes one bit, n bytes before the end.
func flip(b []byte, n int) []byte { b[len(b)-n] ^= 1; return b }

// oldSparse rewrites a header to the old GNU sparse type, as GNU tar -S does.
func oldSparse(t *testing.T) []byte {
	raw := rawTar(t, control(), member{tar.Header{Name: "s", Mode: 0o644, Format: tar.FormatGNU}, "xx"})
	h := raw[1024:1536] // control takes a header and one block
	h[156] = 'S'
	copy(h[386:], "00000000000\x0000000000002\x00") // the only piece: offset 0, 2 bytes
	copy(h[483:], "00001000000\x00")                // real size
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], []byte{byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
	return raw
}

// TestAStreamOfSeveralMembersIsOne: what packs with several processors at once writes one
// member after the other, and a member ends anywhere.
func TestAStreamOfSeveralMembersIsOne(t *testing.T) {
	t.Parallel()
	raw := rawTar(t, control(), file("f", "content"))
	for _, at := range []int{0, 1, 512, 700, len(raw) - 1, len(raw)} {
		archive := append(zip(t, raw[:at]), zip(t, raw[at:])...)
		sum, err := unpack.Stream(t.Context(), bytes.NewReader(archive), small(), func(unpack.Entry) error { return nil })
		if err != nil || sum.Files != 2 {
			t.Errorf("two members, the second one from byte %d: %+v, %v", at, sum, err)
		}
	}
}
