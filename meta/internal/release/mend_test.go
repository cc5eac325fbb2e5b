package release_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/release"
)

// Archives as build systems make them are taken, or refused with the command
// that mends them. The commands are run.
func TestArchivesAsBuildSystemsMakeThem(t *testing.T) {
	const packed = "tar -C pkg -c . "
	for name, c := range map[string]struct {
		make  string // the shell that makes demo-1.0.tar.gz of pkg/
		taken bool
		final bool // nothing mends it here
		says  string
	}{
		"as it should be":                      {make: packed + "| gzip >demo-1.0.tar.gz", taken: true},
		"without ./":                           {make: "tar -C pkg -czf demo-1.0.tar.gz control data", taken: true},
		"with pax headers":                     {make: "tar -C pkg --format=pax -czf demo-1.0.tar.gz .", taken: true},
		"with long names":                      {make: "mkdir -p pkg/" + longName + " && touch pkg/" + longName + "/" + longName + " && tar -C pkg --format=gnu -czf demo-1.0.tar.gz .", taken: true},
		"of odd owners":                        {make: "tar -C pkg --owner=nobody-there:54321 --group=x:65000 -czf demo-1.0.tar.gz .", taken: true},
		"of a Mac":                             {make: "touch pkg/._control pkg/.DS_Store && " + packed + "| gzip >demo-1.0.tar.gz", taken: true},
		"with hard links":                      {make: "ln pkg/data pkg/again && " + packed + "| gzip >demo-1.0.tar.gz", taken: true},
		"with relative links":                  {make: "ln -s data pkg/link && " + packed + "| gzip >demo-1.0.tar.gz", taken: true},
		"of several gzip members":              {make: packed + ">t; (head -c 2000 t | gzip; tail -c +2001 t | gzip) >demo-1.0.tar.gz", taken: true},
		"in a directory":                       {make: "mv pkg demo-1.0 && tar -czf demo-1.0.tar.gz demo-1.0"},
		"in a directory, with ./":              {make: "mv pkg demo-1.0 && tar -czf demo-1.0.tar.gz ./demo-1.0"},
		"with a control that isn't executable": {make: "chmod 644 pkg/control && " + packed + "| gzip >demo-1.0.tar.gz"},
		"with a control of Windows":            {make: `printf '#!/bin/sh\r\necho started\r\n' >pkg/control && ` + packed + "| gzip >demo-1.0.tar.gz"},
		"with setuid":                          {make: "chmod u+s pkg/data && " + packed + "| gzip >demo-1.0.tar.gz"},
		"with a FIFO":                          {make: "mkfifo pkg/pipe && " + packed + "| gzip >demo-1.0.tar.gz"},
		"with an absolute link":                {make: "ln -s /etc/passwd pkg/link && " + packed + "| gzip >demo-1.0.tar.gz"},
		"with a link that leaves it":           {make: "mkdir -p pkg/d && ln -s ../../elsewhere \"pkg/d/it's a link\" && " + packed + "| gzip >demo-1.0.tar.gz"},
		"with a link to itself":                {make: "ln -s loop pkg/loop && " + packed + "| gzip >demo-1.0.tar.gz"},
		"with too many links in a row":         {make: "for i in $(seq 45); do ln -s l$((i+1)) pkg/l$i; done && " + packed + "| gzip >demo-1.0.tar.gz"},
		"with a hard link to nothing":          {make: "ln pkg/data pkg/again && tar -C pkg -cf t control data again && tar --delete -f t data && gzip <t >demo-1.0.tar.gz"},
		"with absolute paths":                  {make: "tar -P --transform 's,^\\./,/,' -C pkg -czf demo-1.0.tar.gz ./control ./data"},
		"with a path outside":                  {make: "tar -P --transform 's,^data,../data,' -C pkg -czf demo-1.0.tar.gz control data"},
		"with a file below a link":             {make: "mkdir pkg/d && ln -s d pkg/e && tar -C pkg -cf t control d e && tar --transform 's,^,e/,' -C pkg -rf t data && gzip <t >demo-1.0.tar.gz"},
		"with a byte order mark":               {make: `printf '\357\273\277#!/bin/sh\necho started\n' >pkg/control && ` + packed + "| gzip >demo-1.0.tar.gz"},
		"without an interpreter line":          {make: "echo echo started >pkg/control && " + packed + "| gzip >demo-1.0.tar.gz"},
		"with a sparse file":                   {make: "truncate -s 1M pkg/holes && tar -C pkg -S -czf demo-1.0.tar.gz ."},
		"with a path twice":                    {make: "tar -C pkg -cf t control data && tar -C pkg -rf t data && gzip <t >demo-1.0.tar.gz"},
		"with names that differ by case":       {make: "touch pkg/Data pkg/DATA && " + packed + "| gzip >demo-1.0.tar.gz"},
		"with directories that differ by case": {make: "mkdir -p pkg/lib/sub pkg/Lib && touch pkg/lib/a pkg/lib/sub/b pkg/Lib/a 'pkg/Lib/with a space' && " + packed + "| gzip >demo-1.0.tar.gz"},
		"with names beyond ASCII that do":      {make: "touch pkg/café pkg/CAFÉ && " + packed + "| gzip >demo-1.0.tar.gz"},
		"by xz":                                {make: packed + "| xz >demo-1.0.tar.gz"},
		"by zstd":                              {make: packed + "| zstd -q >demo-1.0.tar.gz"},
		"by bzip2":                             {make: packed + "| bzip2 >demo-1.0.tar.gz"},
		"by zip":                               {make: "(cd pkg && zip -q ../t.zip *) && mv t.zip demo-1.0.tar.gz"},
		"not compressed":                       {make: packed + ">demo-1.0.tar.gz"},
		"with garbage behind it":               {make: packed + "| gzip >demo-1.0.tar.gz && echo this is garbage, and more than a header >>demo-1.0.tar.gz"},
		"padded with zeros":                    {make: packed + "| gzip >demo-1.0.tar.gz && head -c 512 /dev/zero >>demo-1.0.tar.gz"},
		"cut short":                            {make: packed + "| gzip | head -c 100 >demo-1.0.tar.gz", final: true},
		"nothing at all":                       {make: ": >demo-1.0.tar.gz", final: true},
		"an archive of nothing":                {make: "tar -czf demo-1.0.tar.gz -T /dev/null", final: true},
		"a few letters":                        {make: "printf hello >demo-1.0.tar.gz", final: true, says: `demo-1.0.tar.gz is not gzip: it begins with "hello"`},
		"a text":                               {make: "seq 1000 >demo-1.0.tar.gz", final: true, says: "demo-1.0.tar.gz is not gzip: it begins with"},
		"a page":                               {make: "echo '<!doctype html>' >demo-1.0.tar.gz", final: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, s := t.TempDir(), openStore(t, t.TempDir())
			if err := os.Mkdir(filepath.Join(dir, "pkg"), 0o755); err != nil {
				t.Fatal(err)
			}
			shell(t, dir, `printf '#!/bin/sh\necho started\n' >pkg/control && chmod 755 pkg/control && echo data >pkg/data && `+c.make)
			err := receiveFile(t, s, dir)
			if c.taken {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var refused *api.Error
			if !errors.As(err, &refused) || refused.Kind != api.KindInvalid || refused.Hint == "" {
				t.Fatalf("got %v, want a refusal with a hint", err)
			}
			if !strings.Contains(refused.Message, c.says) || c.says != "" && strings.Contains(refused.Hint, "send it again") {
				t.Errorf("it says %q, hint %q", refused.Message, refused.Hint)
			}
			if c.final {
				return
			}
			shell(t, dir, refused.Hint)
			if err := receiveFile(t, s, dir); err != nil {
				t.Fatalf("%s\n%v\nstill refused: %v", refused.Message, refused.Hint, err)
			}
		})
	}
}

const longName = "a-directory-whose-name-is-so-long-that-it-does-not-fit-into-the-header-of-an-old-tar-and-needs-another-one-before-it"

func shell(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func receiveFile(t *testing.T, s *release.Store, dir string) error {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "demo-1.0.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Receive(t.Context(), release.Declared{Agent: "demo", Version: "1.0"}, bytes.NewReader(data))
	return err
}
