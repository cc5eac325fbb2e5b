package server_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/server"
)

const victimText = "precious"

// inTheWay puts what is no plain file of ours at a path; a link leads to the
// victim.
var inTheWay = map[string]func(path, victim string) error{
	"FIFO":      func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
	"link":      func(path, victim string) error { return os.Symlink(victim, path) },
	"device":    func(path, _ string) error { return os.Symlink("/dev/zero", path) },
	"directory": func(path, _ string) error { return os.MkdirAll(filepath.Join(path, "full"), 0o700) },
	"huge file": func(path, _ string) error {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			return err
		}
		return os.Truncate(path, 64<<30)
	},
}

// What belongs to the server and is no plain file keeps no start waiting, fills
// no memory and leads nothing elsewhere: it is refused with its name and what to
// do, or set aside with a warning.
func TestFilesOfTheServerThatAreNoPlainFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED with -short: starts servers")
	}
	bin := buildProgram(t, "")
	const refused, starts, aside = "refused", "starts", "set aside"
	for file, want := range map[string]map[string]string{
		"ops-meta.lock":   {"FIFO": refused, "link": refused, "device": refused, "directory": refused, "huge file": starts},
		"admin.token":     {"FIFO": refused, "link": refused, "device": refused, "directory": refused, "huge file": refused},
		"serial":          {"FIFO": aside, "link": aside, "device": aside, "directory": aside, "huge file": aside},
		"address":         {"FIFO": starts, "link": starts, "device": starts, "huge file": starts},
		"ops-meta.db":     {"FIFO": refused, "device": refused, "directory": refused, "huge file": refused},
		"ops-meta.db-wal": {"FIFO": refused, "device": refused, "directory": refused},
		"cfg.yaml":        {"FIFO": refused, "device": refused, "directory": refused, "huge file": refused},
		"cert.pem":        {"FIFO": refused, "device": refused, "directory": refused, "huge file": refused},
		"key.pem":         {"FIFO": refused, "device": refused, "directory": refused, "huge file": refused},
		"ca.pem":          {"FIFO": refused, "device": refused, "directory": refused, "huge file": refused},
		"log":             {"FIFO": refused, "directory": refused},
	} {
		for kind, end := range want {
			t.Run(file+" "+kind, func(t *testing.T) {
				t.Parallel()
				conf := newConfig(t)
				victim := filepath.Join(t.TempDir(), "victim")
				if err := os.WriteFile(victim, []byte(victimText), 0o600); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(conf.Data, file)
				if err := inTheWay[kind](path, victim); err != nil {
					t.Fatal(err)
				}
				said, started := serveOnce(t, bin, conf, flagsFor(t, path)...)
				if started == (end == refused) {
					t.Fatalf("started: %v, want it %s; it said: %s", started, end, said)
				}
				if end != starts && !strings.Contains(said, path) {
					t.Errorf("it names another file: %s", said)
				}
				if left, _ := filepath.Glob(path + ".corrupt-*"); (len(left) == 1) != (end == aside) {
					t.Errorf("set aside: %v", left)
				}
				if text := content(t, victim); string(text) != victimText {
					t.Errorf("where the link led is %q now", text)
				}
			})
		}
	}
}

// flagsFor makes the server use a file that is an administrator's.
func flagsFor(t *testing.T, path string) []string {
	t.Helper()
	dir := filepath.Dir(path)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	switch filepath.Base(path) {
	case "cfg.yaml":
		return []string{"--config", path}
	case "log":
		return []string{"--log-file", path}
	case "cert.pem", "key.pem", "ca.pem":
		writeCertificate(t, path, cert, key)
		flags := []string{"--tls-cert", cert, "--tls-key", key}
		if filepath.Base(path) == "ca.pem" {
			flags = append(flags, "--client-ca", path)
		}
		return flags
	}
	return nil
}

// writeCertificate writes a certificate and its key, except where one of them
// is to be something else.
func writeCertificate(t *testing.T, except, cert, key string) {
	t.Helper()
	tlsServer := httptest.NewTLSServer(nil)
	defer tlsServer.Close()
	pair := tlsServer.TLS.Certificates[0]
	secret, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if path == except {
			continue
		}
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serveOnce starts the server, waits until it listens or ends, and ends it.
func serveOnce(t *testing.T, bin string, conf server.Config, flags ...string) (said string, started bool) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(bin, append([]string{"serve", "--data", conf.Data, "--listen", conf.Listen}, flags...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	deadline := time.After(time.Minute)
	for !started {
		select {
		case <-ended:
			return out.String(), false
		case <-deadline:
			_ = cmd.Process.Kill()
			<-ended
			t.Fatalf("it neither starts nor ends: %s", out.String())
		case <-time.After(10 * time.Millisecond):
		}
		fi, err := os.Lstat(filepath.Join(conf.Data, "address"))
		started = err == nil && fi.Mode().IsRegular() && fi.Size() < 1<<10
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	<-ended
	return out.String(), true
}

// An artifact in whose place is something else is a failed download, which
// nobody waits for.
func TestAnArtifactThatIsNoPlainFile(t *testing.T) {
	for kind, put := range inTheWay {
		if kind == "huge file" {
			continue // its length is its own to know
		}
		t.Run(kind, func(t *testing.T) {
			conf := newConfig(t)
			r := start(t, conf)
			a := r.publish(t, "demo", "1.0")
			path := filepath.Join(conf.Data, "artifacts", "blobs", "sha256", a.SHA256[:2], a.SHA256[2:])
			victim := filepath.Join(t.TempDir(), "victim")
			if err := os.Rename(path, victim); err != nil {
				t.Fatal(err)
			}
			if err := put(path, victim); err != nil {
				t.Fatal(err)
			}
			if got := r.raw(t, "GET", "/releases/demo/linux_amd64/demo-1.0.tar.gz", nil); got.StatusCode < 500 {
				t.Errorf("%s with %d bytes, want an error of the server", got.Status, len(got.body))
			}
		})
	}
}
