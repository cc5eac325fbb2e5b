package updater_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/updater"
	"github.com/ops-updater/ops-updater/updater/config"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// inTheWay puts something that is no plain file at a path.
var inTheWay = map[string]func(t *testing.T, path, victim string){
	"FIFO":      func(t *testing.T, path, _ string) { must(t, syscall.Mkfifo(path, 0o600)) },
	"link":      func(t *testing.T, path, victim string) { must(t, os.Symlink(victim, path)) },
	"hard link": func(t *testing.T, path, victim string) { must(t, os.Link(victim, path)) },
	"directory": func(t *testing.T, path, _ string) { must(t, os.MkdirAll(filepath.Join(path, "full"), 0o700)) },
	"sparse huge file": func(t *testing.T, path, _ string) {
		must(t, os.WriteFile(path, []byte("{"), 0o600))
		must(t, os.Truncate(path, 64<<30))
	},
}

func TestStateThatIsNoPlainFileIsSetAside(t *testing.T) {
	t.Parallel()
	for kind, put := range inTheWay {
		t.Run(kind, func(t *testing.T) {
			h := newHost(t)
			h.boot()
			a := h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{})
			h.apply(a)
			h.runs("falcon", "1.0.0")
			h.halt()
			victim := filepath.Join(h.dir, "victim")
			must(t, os.WriteFile(victim, []byte(`{"precious":true}`), 0o600))
			files := []string{"journal/falcon.json", "desired.json", "holds.json"}
			for _, file := range files {
				path := filepath.Join(h.cfg.VarDir, file)
				_ = os.Remove(path)
				put(t, path, victim)
			}
			booted := make(chan struct{})
			go func() { h.boot(); close(booted) }()
			select {
			case <-booted:
			case <-time.After(patience):
				t.Fatal("the start hangs")
			}
			h.apply(a)
			h.runs("falcon", "1.0.0")
			h.checkRunning("falcon", "1.0.0")
			if text, err := os.ReadFile(victim); err != nil || string(text) != `{"precious":true}` {
				t.Errorf("what the link led to holds %q, %v", text, err)
			}
			if kind == "hard link" {
				return // reading it harms nobody, and writing replaces the name
			}
			damage := strings.Join(h.engine.Damage(), "\n")
			for _, file := range files {
				aside, _ := filepath.Glob(filepath.Join(h.cfg.VarDir, file+".corrupt-*"))
				if len(aside) != 1 || !strings.Contains(damage, file) {
					t.Errorf("%s: set aside %v, said %q", file, aside, damage)
				}
			}
		})
	}
}

func TestCheckTellsWhatWasDamaged(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cfg.json"), `{"server":"127.0.0.1:1"}`)
	must(t, os.MkdirAll(filepath.Join(dir, "var/journal"), 0o700))
	write(t, filepath.Join(dir, "var/journal/falcon.json.corrupt-20260101T000000.000"), "\x00")
	must(t, syscall.Mkfifo(filepath.Join(dir, "var/desired.json"), 0o600))
	c, err := config.Load(filepath.Join(dir, "cfg.json"))
	must(t, err)
	said := ""
	for _, f := range updater.Check(t.Context(), c) {
		said += f.Detail + "\n"
	}
	for _, want := range []string{"falcon.json.corrupt-20260101T000000.000 was damaged", "desired.json is a FIFO"} {
		if !strings.Contains(said, want) {
			t.Errorf("check does not say %q:\n%s", want, said)
		}
	}
}

func TestConfigurationThatIsNoPlainFileIsRefusedAtOnce(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"device":    func(path string) error { return os.Symlink("/dev/zero", path) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"huge": func(path string) error {
			return os.Truncate(path, 1<<40)
		},
	} {
		for _, key := range []string{"", "token_file", "ca_file"} {
			t.Run(name+" "+key, func(t *testing.T) {
				dir := t.TempDir()
				file := filepath.Join(dir, "cfg.json")
				bad := file
				if key != "" {
					bad = filepath.Join(dir, "bad")
					write(t, file, `{"server":"127.0.0.1:1","`+key+`":"bad"}`)
				}
				if name == "huge" {
					write(t, bad, "{")
				}
				must(t, put(bad))
				ended := make(chan string, 1)
				go func() {
					c, err := config.Load(file)
					if err == nil {
						for _, f := range updater.Check(t.Context(), c) {
							if f.Verdict == updater.VerdictFail {
								ended <- f.Detail
								return
							}
						}
						ended <- ""
						return
					}
					ended <- err.Error()
				}()
				select {
				case said := <-ended:
					if !strings.Contains(said, bad) {
						t.Errorf("%q; want the name of the file", said)
					}
				case <-time.After(patience):
					t.Fatal("it hangs")
				}
			})
		}
	}
}

// What older programs leave after a power cut: they wrote .version and the
// release itself in place.
func TestI2WhatAPowerCutLeftIsNoWorseThanNothing(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, dir string){
		"empty .version":   func(t *testing.T, dir string) { write(t, filepath.Join(dir, ".version"), "") },
		".version of NULs": func(t *testing.T, dir string) { write(t, filepath.Join(dir, ".version"), "\x00\x00\x00\x00\x00") },
		"empty control":    func(t *testing.T, dir string) { write(t, filepath.Join(dir, "1.0.0/control"), "") },
		"control of NULs": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "1.0.0/control"), strings.Repeat("\x00", 99))
		},
		"half a version":      func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "1.0.0/control"))) },
		"half the wanted one": func(t *testing.T, dir string) { agenttest.Write(t, filepath.Join(dir, "1.0.1/app"), "x", 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			dir := h.agentDir("falcon")
			agenttest.Habits{}.Place(t, dir, "1.0.0")
			write(t, filepath.Join(dir, ".version"), "1.0.0")
			damage(t, dir)
			h.boot()
			h.apply(h.origin.publish(t, "falcon", "1.0.1", agenttest.Habits{}))
			h.runs("falcon", "1.0.1")
			h.checkRunning("falcon", "1.0.1")
			h.apply(h.origin.publish(t, "falcon", "1.0.0", agenttest.Habits{}))
			h.await("falcon", "went back", func(a meta.RealAgent) bool { return a.Version == "1.0.0" && a.Status == meta.StatusStarted })
		})
	}
}
