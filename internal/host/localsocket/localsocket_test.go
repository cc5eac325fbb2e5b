package localsocket_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ops-updater/ops-updater/internal/host/localsocket"
)

// greet listens at path, greets the first that comes, and closes.
func greet(t *testing.T, path string) {
	t.Helper()
	l, err := localsocket.Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Lstat(path); err != nil || fi.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%s is %v, %v; want a socket for its owner alone", path, fi.Mode(), err)
	}
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
	conn, err := localsocket.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if said, err := io.ReadAll(conn); string(said) != "hello" || err != nil {
		t.Errorf("heard %q, %v", said, err)
	}
	_ = l.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket outlives its listener: %v", err)
	}
}

func TestASocketIsHadWhateverIsInItsPlace(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"nothing": func(string) error { return nil },
		"the socket of a killed program": func(path string) error {
			l, err := localsocket.Listen(t.Context(), path+"-left")
			if err != nil {
				return err
			}
			defer l.Close()
			return os.Link(path+"-left", path)
		},
		"a file of somebody's": func(path string) error { return os.WriteFile(path, []byte("mine"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.sock")
			if err := prepare(path); err != nil {
				t.Fatal(err)
			}
			greet(t, path)
			if kept, _ := filepath.Glob(path + ".*"); strings.HasPrefix(name, "a file") != (len(kept) == 1) {
				t.Errorf("kept beside it: %v", kept)
			}
		})
	}
}

func TestASocketMayLieDeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	greet(t, filepath.Join(dir, "x.sock"))
}
