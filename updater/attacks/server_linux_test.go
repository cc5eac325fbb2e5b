package attacks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
	"github.com/ops-updater/ops-updater/updater/internal/agenttest"
)

// endless writes text until the other side has had enough.
func endless(w http.ResponseWriter, r *http.Request, text string) {
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte(text)); err != nil {
			return
		}
	}
}

func TestAHostileServerIsBoundedReportedAndBackedOff(t *testing.T) {
	v := newVictim(t, nil)
	for name, answer := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"desiredAgents":[`))
			endless(w, r, strings.Repeat(`{"name":"falcon","version":"9.9.9","cmd":"start"},`, 1000))
		},
		"deep":        func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat("[", 3<<20))) },
		"many agents": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(manyAgents()) },
		"wrong types": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"desiredAgents":{"falcon":1},"interval":"often"}`))
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("started")) },
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"errorMessage":"\u001b[2Jgo away","desiredAgents":[]}`))
		},
		"storm": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := v.in(t)
			_, before := v.server.last()
			began := time.Now()
			v.server.attack(answer)
			deadline := time.Now().Add(patience)
			for v.status().Heartbeat.Failures < 2 {
				if time.Now().After(deadline) {
					t.Fatalf("the failing heartbeat is not told: %+v", v.status().Heartbeat)
				}
				wait(500 * time.Millisecond)
			}
			if s := v.status(); s.Heartbeat.Error == "" || strings.Contains(s.Heartbeat.Error, "\x1b") {
				t.Errorf("told as %q", s.Heartbeat.Error)
			}
			// Two dialects and two tries of a connection for each, and never faster than the
			// interval.
			if _, after := v.server.last(); float64(after-before) > 4*(time.Since(began).Seconds()+2) {
				t.Errorf("%d heartbeats in %v", after-before, time.Since(began))
			}
			v.calm()
		})
	}
	v.recovers()
}

func manyAgents() []byte {
	agents := make([]string, 2000)
	for i := range agents {
		agents[i] = fmt.Sprintf(`{"name":"a%d","version":"1.0.0","cmd":"start"}`, i)
	}
	return []byte(`{"errorMessage":"","desiredAgents":[` + strings.Join(agents, ",") + `]}`)
}

func TestAServerThatSendsByteByByteDelaysNothingButItsHeartbeat(t *testing.T) {
	v := newVictim(t, nil)
	reached := make(chan struct{}, 100)
	v.server.attack(func(w http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			wait(200 * time.Millisecond)
		}
	})
	select {
	case <-reached:
	case <-time.After(patience):
		t.Fatal("no heartbeat came")
	}
	// While that hangs, a crashed agent is started again.
	agenttest.Kill(t, v.agentDir("falcon"))
	deadline := time.Now().Add(patience)
	for v.lastUp("falcon") == v.pid["falcon"] {
		if time.Now().After(deadline) {
			t.Fatal("what crashed is not started again while the server keeps a heartbeat")
		}
		wait(200 * time.Millisecond)
	}
}

func TestCredentialsNeverLeaveForAnotherHost(t *testing.T) {
	var stolen atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.URL.User != nil {
			stolen.Add(1)
		}
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(thief.Close)
	v := newVictim(t, func(v *victim) { v.config["token"] = "a-secret-token" })
	// The heartbeat is not followed elsewhere at all, downloads are, without credentials.
	v.server.serveFile("/elsewhere/"+meta.Arch()+"/falcon-6.6.6.tar.gz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "session=secret")
		http.Redirect(w, r, thief.URL+"/x", http.StatusFound)
	})
	evil := v.server.release(t, "falcon", "6.6.6", v.evil())
	evil.Tarball = v.server.URL + "/elsewhere"
	v.wantsBeside(evil)
	v.refused("refused")
	v.server.attack(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+"/api/heartbeat", http.StatusTemporaryRedirect)
	})
	deadline := time.Now().Add(patience)
	for v.status().Heartbeat.Failures == 0 {
		if time.Now().After(deadline) {
			t.Fatal("a heartbeat that is sent elsewhere is not told")
		}
		wait(500 * time.Millisecond)
	}
	if n := stolen.Load(); n > 0 {
		t.Errorf("credentials went to another host %d times", n)
	}
	v.unharmed()
}

func TestEndlessDataAndSlowRetrieval(t *testing.T) {
	v := newVictim(t, nil)
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		size  int64
		codes []string
	}{
		"endless, announced": {func(w http.ResponseWriter, r *http.Request) { endless(w, r, strings.Repeat("x", 64<<10)) }, 100_000, []string{"wrong-size", "too-large"}},
		"endless, unknown":   {func(w http.ResponseWriter, r *http.Request) { endless(w, r, strings.Repeat("x", 64<<10)) }, 0, []string{"too-large", "bad-archive", "hostile-archive"}},
		"slow": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("x"))
				_ = http.NewResponseController(w).Flush()
				wait(500 * time.Millisecond)
			}
		}, 100_000, []string{"stalled"}},
		"silent": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 100_000, []string{"stalled", "unreachable"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := v.in(t)
			evil := v.evilRelease()
			evil.Size = c.size
			v.server.serveFile("/releases/"+meta.Arch()+"/"+meta.TarballName("falcon", evil.Version), c.serve)
			v.wantsBeside(evil)
			v.refused(c.codes...)
			v.calm()
		})
	}
	v.recovers()
}

func TestExtraneousSoftwareIsRefused(t *testing.T) {
	v := newVictim(t, func(v *victim) {
		v.config["policy"] = map[string]any{
			"agents": []string{"falcon", "by*"}, "run_users": []string{"nobody", me()}, "work_dirs": []string{v.work}, "tarball_hosts": []string{"127.0.0.1"},
			"downgrade": false, "min_versions": map[string]string{"falcon": "0.9.0"},
		}
	})
	for name, c := range map[string]struct {
		change func(v *victim, a *meta.DesiredAgent)
		words  string
	}{
		"another user": {func(_ *victim, a *meta.DesiredAgent) { a.RunUser = "daemon" }, "policy.run_users"},
		"elsewhere":    {func(v *victim, a *meta.DesiredAgent) { a.WorkDir = v.dir + "/elsewhere" }, "policy.work_dirs"},
		"another host": {func(_ *victim, a *meta.DesiredAgent) {
			a.Tarball = strings.Replace(a.Tarball, "127.0.0.1", "localhost", 1)
		}, "policy.tarball_hosts"},
		"a mirror":      {func(_ *victim, a *meta.DesiredAgent) { a.Mirrors = meta.AddressesOf("http://localhost:1/x") }, "policy.tarball_hosts"},
		"older":         {func(v *victim, a *meta.DesiredAgent) { *a = v.server.release(v.t, "falcon", "0.9.5", v.evil()) }, "policy.downgrade"},
		"below minimum": {func(v *victim, a *meta.DesiredAgent) { *a = v.server.release(v.t, "falcon", "0.8.0", v.evil()) }, "policy.min_versions"},
	} {
		t.Run(name, func(t *testing.T) {
			v := v.in(t)
			evil := v.evilRelease()
			c.change(v, &evil)
			v.wantsBeside(evil)
			if a := v.refused("policy"); !strings.Contains(a.Error, c.words) {
				t.Errorf("told as %q", a.Error)
			}
			v.calm()
		})
	}
	t.Run("a redirect", func(t *testing.T) {
		v := v.in(t)
		evil := v.evilRelease()
		path := "/releases/" + meta.Arch() + "/" + meta.TarballName("falcon", evil.Version)
		v.server.serveFile(path, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(v.server.URL, "127.0.0.1", "localhost", 1)+"/x", http.StatusFound)
		})
		v.wantsBeside(evil)
		v.refused("bad-redirect")
		v.calm()
	})
	t.Run("another agent", func(t *testing.T) {
		v := v.in(t)
		v.server.wants(v.server.release(t, "falcon", "1.0.0", agenttest.Habits{}), v.server.release(t, "bystander", "1.0.0", agenttest.Habits{}), v.server.release(t, "miner", "1.0.0", v.evil()))
		v.awaitAgent("miner", "is refused", func(a meta.RealAgent) bool { return a.Reason == "policy" && a.Version == "" })
		v.unharmed()
	})
	v.recovers()
}

// signing makes the server sign, and the victim require that.
func signing(t *testing.T) (trust.PrivateKey, func(v *victim)) {
	t.Helper()
	key, err := trust.NewKey()
	must(t, err)
	return key, func(v *victim) {
		v.server.key = &key
		v.config["trust"] = map[string]any{"desired": "require", "server_keys": []string{key.Public().String()}}
	}
}

// honestly is a reply that the real server could have signed.
func honestly(s *server, change func(*meta.HeartbeatResponse)) meta.HeartbeatResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.reply
	r.Expires = time.Now().Add(time.Hour).Unix()
	change(&r)
	return r
}

func TestRepliesThatAreNotBelieved(t *testing.T) {
	key, sign := signing(t)
	v := newVictim(t, sign)
	for name, c := range map[string]struct {
		want trust.Code
		make func(v *victim, key trust.PrivateKey, evil meta.DesiredAgent) http.HandlerFunc
	}{
		"unsigned": {trust.Unsigned, func(v *victim, _ trust.PrivateKey, evil meta.DesiredAgent) http.HandlerFunc {
			r := honestly(v.server, func(r *meta.HeartbeatResponse) { r.DesiredAgents = []meta.DesiredAgent{evil}; r.Serial = 100 })
			return func(w http.ResponseWriter, _ *http.Request) { write(w, r, nil) }
		}},
		"signed by somebody": {trust.UnknownKey, func(v *victim, _ trust.PrivateKey, evil meta.DesiredAgent) http.HandlerFunc {
			theirs, err := trust.NewKey()
			must(v.t, err)
			r := honestly(v.server, func(r *meta.HeartbeatResponse) { r.DesiredAgents = []meta.DesiredAgent{evil}; r.Serial = 100 })
			return func(w http.ResponseWriter, _ *http.Request) { write(w, r, &theirs) }
		}},
		"changed on the way": {trust.BadSignature, func(v *victim, key trust.PrivateKey, evil meta.DesiredAgent) http.HandlerFunc {
			good, err := json.Marshal(honestly(v.server, func(*meta.HeartbeatResponse) {}))
			must(v.t, err)
			bad, err := json.Marshal(honestly(v.server, func(r *meta.HeartbeatResponse) { r.DesiredAgents = []meta.DesiredAgent{evil} }))
			must(v.t, err)
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(trust.ReplyHeader, trust.EncodeHeader(key.Sign(good, trust.Reply())))
				_, _ = w.Write(bad)
			}
		}},
		"rollback": {trust.SerialBack, func(v *victim, key trust.PrivateKey, evil meta.DesiredAgent) http.HandlerFunc {
			r := honestly(v.server, func(r *meta.HeartbeatResponse) { r.DesiredAgents = []meta.DesiredAgent{evil}; r.Serial = 0 })
			return func(w http.ResponseWriter, _ *http.Request) { write(w, r, &key) }
		}},
		"another host's": {trust.OtherHost, func(v *victim, key trust.PrivateKey, evil meta.DesiredAgent) http.HandlerFunc {
			r := honestly(v.server, func(r *meta.HeartbeatResponse) {
				r.DesiredAgents, r.Serial, r.Host = []meta.DesiredAgent{evil}, 100, "other.example"
			})
			return func(w http.ResponseWriter, _ *http.Request) { write(w, r, &key) }
		}},
		"a release's signature": {trust.OtherSubject, func(v *victim, key trust.PrivateKey, evil meta.DesiredAgent) http.HandlerFunc {
			body, err := json.Marshal(honestly(v.server, func(r *meta.HeartbeatResponse) { r.DesiredAgents = []meta.DesiredAgent{evil}; r.Serial = 100 }))
			must(v.t, err)
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(trust.ReplyHeader, trust.EncodeHeader(key.Sign(body, trust.Release("falcon", evil.Version, meta.Arch()))))
				_, _ = w.Write(body)
			}
		}},
		"without end": {trust.Expired, func(v *victim, key trust.PrivateKey, evil meta.DesiredAgent) http.HandlerFunc {
			r := honestly(v.server, func(r *meta.HeartbeatResponse) {
				r.DesiredAgents, r.Serial, r.Expires = []meta.DesiredAgent{evil}, 100, 0
			})
			return func(w http.ResponseWriter, _ *http.Request) { write(w, r, &key) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			v := v.in(t)
			v.server.attack(c.make(v, key, v.evilRelease()))
			v.disbelieved(c.want)
			v.calm()
		})
	}
	v.recovers()
}

func TestTheOldDialectIsNoWayRoundSignatures(t *testing.T) {
	_, sign := signing(t)
	v := newVictim(t, sign)
	evil := v.server.release(t, "falcon", "6.6.6", v.evil())
	body, err := json.Marshal(meta.HeartbeatResponse{DesiredAgents: []meta.DesiredAgent{evil}})
	must(t, err)
	v.server.serveFile(meta.PathLegacy, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	v.server.attack(http.NotFound)
	v.disbelieved(trust.Unsigned)
}

func TestAFrozenReplyEnds(t *testing.T) {
	for name, frozen := range map[string]func(w http.ResponseWriter, body []byte, header string){
		"replayed": func(w http.ResponseWriter, body []byte, header string) {
			w.Header().Set(trust.ReplyHeader, header)
			_, _ = w.Write(body)
		},
		"not modified": func(w http.ResponseWriter, _ []byte, _ string) { w.WriteHeader(http.StatusNotModified) },
	} {
		t.Run(name, func(t *testing.T) {
			key, sign := signing(t)
			v := newVictim(t, sign)
			reply := honestly(v.server, func(r *meta.HeartbeatResponse) { r.Expires = time.Now().Add(5 * time.Second).Unix() })
			body, err := json.Marshal(reply)
			must(t, err)
			header := trust.EncodeHeader(key.Sign(body, trust.Reply()))
			given := false
			v.server.attack(func(w http.ResponseWriter, r *http.Request) {
				if !given || r.Header.Get("If-None-Match") == "" {
					given = true
					w.Header().Set("ETag", `"x"`)
					w.Header().Set(trust.ReplyHeader, header)
					_, _ = w.Write(body)
					return
				}
				frozen(w, body, header)
			})
			report := v.disbelieved(trust.Expired)
			if since := time.Unix(report.Since, 0); since.Before(time.Unix(reply.Expires, 0)) {
				t.Errorf("stale since %v, and it expired at %v", since, reply.Expires)
			}
			v.recovers()
		})
	}
}

func TestASerialThatWasDrivenUpIsRecoveredFromWithoutTouchingTheHost(t *testing.T) {
	root, err := trust.NewKey()
	must(t, err)
	stolen, err := trust.NewKey()
	must(t, err)
	fresh, err := trust.NewKey()
	must(t, err)
	v := newVictim(t, func(v *victim) {
		v.server.key = &stolen
		v.config["trust"] = map[string]any{"desired": "require", "server_keys": []string{stolen.Public().String()}, "root_keys": []string{root.Public().String()}}
	})
	high := honestly(v.server, func(r *meta.HeartbeatResponse) { r.Serial = 1 << 60 })
	v.server.attack(func(w http.ResponseWriter, _ *http.Request) { write(w, high, &stolen) })
	heard := func() int64 { return v.status().Trust.Serial }
	deadline := time.Now().Add(patience)
	for heard() != 1<<60 {
		if time.Now().After(deadline) {
			t.Fatalf("the serial is %d", heard())
		}
		wait(200 * time.Millisecond)
	}
	v.server.attack(nil)
	v.disbelieved(trust.SerialBack)

	list, err := root.SignList(trust.KeyList{Epoch: 1, Issued: time.Now(), Keys: []trust.Key{{Key: fresh.Public(), Use: trust.UseServer}}})
	must(t, err)
	v.server.mu.Lock()
	v.server.key, v.server.reply.Epoch, v.server.reply.KeyList = &fresh, 1, &list
	v.server.mu.Unlock()
	v.recovers()
	// The stolen key is worth nothing any more, also after a restart.
	v.pid["falcon"] = v.lastUp("falcon")
	v.halt()
	higher := honestly(v.server, func(r *meta.HeartbeatResponse) { r.Serial, r.DesiredAgents = 1<<61, nil })
	v.server.attack(func(w http.ResponseWriter, _ *http.Request) { write(w, higher, &stolen) })
	v.boot()
	v.disbelieved(trust.UnknownKey)
}

func TestPartsOfTwoRepliesAreNoReply(t *testing.T) {
	key, sign := signing(t)
	v := newVictim(t, sign)
	// The signature of one reply, the body of another one that the server signed, too.
	evil := v.server.release(t, "falcon", "6.6.6", v.evil())
	one, err := json.Marshal(honestly(v.server, func(r *meta.HeartbeatResponse) { r.Serial = 100 }))
	must(t, err)
	other, err := json.Marshal(honestly(v.server, func(r *meta.HeartbeatResponse) {
		r.Host, r.DesiredAgents = "other.example", []meta.DesiredAgent{evil}
	}))
	must(t, err)
	v.server.attack(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(trust.ReplyHeader, trust.EncodeHeader(key.Sign(one, trust.Reply())))
		_, _ = w.Write(other)
	})
	v.disbelieved(trust.BadSignature)
	v.recovers()
}
