package store_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/store"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("OPS_META_TEST_VICTIM"); dir != "" {
		panic(victim(context.Background(), dir))
	}
	m.Run()
}

// victim writes for ever, and says what was acknowledged: "agent NAME SERIAL",
// "host NAME VERSION" and "grant HOST".
func victim(ctx context.Context, dir string) error {
	s, err := store.Open(ctx, store.Config{Dir: dir})
	if err != nil {
		return err
	}
	for {
		n, err := s.Serial(ctx)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("agent-%d", n)
		serial, err := s.Write(ctx, operator, func(tx *store.Tx) error { return put(name)(ctx, tx) })
		if err != nil {
			return err
		}
		fmt.Printf("agent %s %d\n", name, serial)
		h := host(fmt.Sprintf("host-%d", n%7), time.Now())
		h.Agents[0].Version = fmt.Sprint(n)
		if err := s.SaveReports(ctx, []api.HostReport{{Host: h}}); err != nil {
			return err
		}
		fmt.Printf("host %s %d\n", h.Name, n)
		granted, err := grant(ctx, s, "r1", name, 1<<30)
		if err != nil {
			return err
		}
		if granted {
			fmt.Printf("grant %s\n", name)
		}
	}
}

// Whatever was acknowledged is there after kill -9, and the serial never goes
// back. OPS_META_TEST_KILLS says how often (10).
func TestKillLosesNothingAcknowledged(t *testing.T) {
	kills := 10
	if n, err := strconv.Atoi(os.Getenv("OPS_META_TEST_KILLS")); err == nil {
		kills = n
	}
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	seed(t, s)
	start(t, s, "r1")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var serial int64
	total := 0
	for range kills {
		acks := killed(t, dir, 2+rand.IntN(40))
		total += len(acks)
		serial = surviving(t, dir, acks, serial)
	}
	t.Logf("%d acknowledged writes in %d kills", total, kills)
}

// killed starts a victim, and kills it some time after a number of
// acknowledgements; it returns all that it gave.
func killed(t *testing.T, dir string, after int) (acks []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "OPS_META_TEST_VICTIM="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if acks = append(acks, lines.Text()); len(acks) == after {
			time.AfterFunc(time.Duration(rand.IntN(10_000))*time.Microsecond, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait()
	if len(acks) < after {
		t.Fatalf("the victim ended by itself after %d acknowledgements", len(acks))
	}
	return acks
}

func surviving(t *testing.T, dir string, acks []string, before int64) int64 {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, ack := range acks {
		word := strings.Fields(ack)
		switch word[0] {
		case "agent":
			if a, err := s.Agent(t.Context(), word[1]); err != nil || fmt.Sprint(a.Revision) != word[2] {
				t.Errorf("%s: found %+v, %v", ack, a, err)
			}
			if e := must(s.Audit(t.Context(), api.AuditFilter{Name: word[1]}, api.Cursor{}))(t).Items; len(e) != 1 {
				t.Errorf("%s: %d audit entries", ack, len(e))
			}
		case "host":
			h, err := s.Host(t.Context(), word[1])
			stored, _ := strconv.Atoi(h.Agents[0].Version)
			if acked, _ := strconv.Atoi(word[2]); err != nil || stored < acked {
				t.Errorf("%s: found version %d, %v", ack, stored, err)
			}
		case "grant":
			if _, err := s.Grant(t.Context(), "r1", word[1]); err != nil {
				t.Errorf("%s: %v", ack, err)
			}
		}
	}
	for _, c := range s.Check(t.Context()) {
		if c.Level != "ok" {
			t.Errorf("doctor: %+v", c)
		}
	}
	after := must(s.Serial(t.Context()))(t)
	if after <= before {
		t.Errorf("serial went from %d to %d", before, after)
	}
	return after
}
