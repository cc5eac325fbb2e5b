package trust_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/ops-updater/ops-updater/meta/trust"
)

// FuzzParseSignature: nothing that was not signed counts, whatever it looks like, and
// what is read says itself again.
func FuzzParseSignature(f *testing.F) {
	key, err := trust.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	released := []byte("a release")
	subject := trust.Release("amber", "1.0.0", "linux_amd64")
	signed := key.Sign(released, subject)
	f.Add(signed)
	f.Add(bytes.ReplaceAll(signed, []byte("amber"), []byte("birch")))
	f.Add(signed[:len(signed)/2])
	f.Add([]byte("untrusted comment: x\nRW\ntrusted comment: name=a version=b arch=c\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := trust.ParseSignature(file)
		if err != nil {
			return
		}
		again, err := trust.ParseSignature([]byte(s.Text()))
		if err != nil || again.KeyID() != s.KeyID() || again.Subject != s.Subject {
			t.Fatalf("%q is read as %q: %v", file, s.Text(), err)
		}
		header, err := trust.ParseHeader(trust.EncodeHeader(file))
		if err != nil || header.Subject != s.Subject {
			t.Fatalf("%q is not the same in a header: %v", file, err)
		}
		if _, err := s.Verify(trust.Keys{key.Public()}, trust.DigestOf([]byte("another release")), s.Subject); err == nil {
			t.Fatalf("%q verifies what was never signed", file)
		}
		if _, err := s.Verify(trust.Keys{key.Public()}, trust.DigestOf(released), trust.Release("birch", "1.0.0", "linux_amd64")); err == nil {
			t.Fatalf("%q verifies a release of another name", file)
		}
	})
}

// FuzzParseHeader: a header is read or refused.
func FuzzParseHeader(f *testing.F) {
	key, err := trust.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(trust.EncodeHeader(key.Sign([]byte("{}"), trust.Reply())))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, value string) {
		s, err := trust.ParseHeader(value)
		if err != nil {
			return
		}
		if _, err := s.Verify(trust.Keys{key.Public()}, trust.DigestOf([]byte("[]")), trust.Reply()); err == nil {
			t.Fatalf("%q verifies what was never signed", value)
		}
	})
}

// FuzzParsePublicKey: a key is read as one that it says again.
func FuzzParsePublicKey(f *testing.F) {
	key, err := trust.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key.Public().String())
	f.Add(key.Public().File())
	f.Add("RWQ")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := trust.ParsePublicKey(text)
		if err != nil {
			return
		}
		for _, said := range []string{k.String(), k.File()} {
			if again, err := trust.ParsePublicKey(said); err != nil || again.ID() != k.ID() || again.String() != k.String() {
				t.Fatalf("%q is read as %q and that as %q: %v", text, k, again, err)
			}
		}
	})
}

// FuzzParsePrivateKey: a file without a password is read as a key that signs what its
// public half checks. Files with one are left out: reading them is slow on purpose.
func FuzzParsePrivateKey(f *testing.F) {
	key, err := trust.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	file, err := key.File("")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add(file[:len(file)-9])
	f.Fuzz(func(t *testing.T, file []byte) {
		k, err := trust.ParsePrivateKey(file, "")
		if err != nil {
			return
		}
		s, err := trust.ParseSignature(k.Sign([]byte("x"), trust.Reply()))
		if err != nil {
			t.Fatal(err)
		}
		// Halves that do not belong together make signatures that nobody believes.
		if p, err := s.Verify(trust.Keys{k.Public()}, trust.DigestOf([]byte("x")), trust.Reply()); err == nil && p.ID() != k.Public().ID() {
			t.Fatalf("a key that signs as %s is checked as %s", k.Public().ID(), p.ID())
		}
	})
}

// FuzzSignedList: a list that nobody signed counts for nothing, and one that can be
// read is valid.
func FuzzSignedList(f *testing.F) {
	root, err := trust.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	signed, err := root.SignList(trust.KeyList{Epoch: 3, Keys: []trust.Key{{Key: root.Public(), Use: trust.UseRelease}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed.List, signed.Signature)
	f.Add(`{"epoch":9}`, signed.Signature)
	f.Add(signed.List, "")
	f.Fuzz(func(t *testing.T, list, signature string) {
		s := trust.SignedList{List: list, Signature: signature}
		if l, err := s.Read(); err == nil && l.Validate() != nil {
			t.Fatalf("%q was read: %v", list, l.Validate())
		}
		if _, err := s.Verify(trust.Keys{root.Public()}); err == nil && list != signed.List {
			t.Fatalf("%q counts, and was never signed", list)
		}
		heard, err := trust.Heard{}.Hear(trust.Anchors{Roots: trust.Keys{root.Public()}}, &s)
		if err == nil && list != signed.List {
			t.Fatalf("%q was heard as %+v", list, heard)
		}
	})
}

// FuzzJudge: a reply without a good signature of its own is never believed.
func FuzzJudge(f *testing.F) {
	key, err := trust.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	body := []byte(`{"host":"h","serial":7,"expires":2000}`)
	header := trust.EncodeHeader(key.Sign(body, trust.Reply()))
	f.Add(body, header, int64(7), "h")
	f.Add([]byte(`{}`), header, int64(9), "h")
	f.Add(body, "", int64(7), "h")
	now := time.Unix(1000, 0)
	f.Fuzz(func(t *testing.T, said []byte, by string, serial int64, host string) {
		before := trust.Heard{Serial: 5}
		after, err := before.Judge(trust.Anchors{Servers: trust.Keys{key.Public()}}, said, by, trust.Statement{Host: "h", Serial: serial, Expires: time.Unix(2000, 0)}, host, now)
		if err != nil {
			return
		}
		if !bytes.Equal(said, body) || host != "h" || serial < before.Serial || after.Serial < before.Serial {
			t.Fatalf("%q by %q with serial %d was believed by %q", said, by, serial, host)
		}
	})
}
