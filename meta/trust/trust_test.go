package trust_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"github.com/ops-updater/ops-updater/meta/trust"
)

func newKey(t *testing.T) trust.PrivateKey {
	t.Helper()
	k, err := trust.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func parse(t *testing.T, file []byte) trust.Signature {
	t.Helper()
	s, err := trust.ParseSignature(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantCode(t *testing.T, err error, want trust.Code) {
	t.Helper()
	if got := trust.CodeOf(err); got != want {
		t.Errorf("code %q, want %q (%v)", got, want, err)
	}
}

var (
	tarball = []byte("the bytes of a tarball")
	falcon  = trust.Release("falcon-agent", "5.1.0", "linux_amd64")
)

func TestWhatASignatureIsRefusedFor(t *testing.T) {
	ours, other := newKey(t), newKey(t)
	good := ours.Sign(tarball, falcon)
	if key, err := parse(t, good).Verify(trust.Keys{other.Public(), ours.Public()}, trust.DigestOf(tarball), falcon); err != nil || key != ours.Public() {
		t.Fatalf("a good signature: key %s, %v", key.ID(), err)
	}
	verify := func(file []byte, keys trust.Keys, data []byte, want trust.Subject) error {
		s, err := trust.ParseSignature(file)
		if err == nil {
			_, err = s.Verify(keys, trust.DigestOf(data), want)
		}
		return err
	}
	keys := trust.Keys{ours.Public()}
	for name, c := range map[string]struct {
		err  error
		want trust.Code
	}{
		"other bytes":     {verify(good, keys, []byte("other bytes"), falcon), trust.BadSignature},
		"another key":     {verify(other.Sign(tarball, falcon), keys, tarball, falcon), trust.UnknownKey},
		"no keys":         {verify(good, nil, tarball, falcon), trust.NoKeys},
		"another version": {verify(good, keys, tarball, trust.Release("falcon-agent", "5.1.1", "linux_amd64")), trust.OtherSubject},
		"another name":    {verify(good, keys, tarball, trust.Release("ops-agent", "5.1.0", "linux_amd64")), trust.OtherSubject},
		"another arch":    {verify(good, keys, tarball, trust.Release("falcon-agent", "5.1.0", "linux_arm64")), trust.OtherSubject},
		"a configuration": {verify(ours.Sign(tarball, trust.Config("falcon-agent", "cfg.json")), keys, tarball, falcon), trust.OtherSubject},
		"a reply":         {verify(ours.Sign(tarball, trust.Reply()), keys, tarball, falcon), trust.OtherSubject},
		"comment changed": {verify(bytes.Replace(good, []byte("version=5.1.0"), []byte("version=5.1.1"), 1), keys, tarball, trust.Release("falcon-agent", "5.1.1", "linux_amd64")), trust.BadSignature},
		"no signature":    {verify([]byte("<html>"), keys, tarball, falcon), trust.BadSignature},
		"nothing":         {verify(nil, keys, tarball, falcon), trust.BadSignature},
		"too long":        {verify(bytes.Repeat(good, 40), keys, tarball, falcon), trust.BadSignature},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, c.err, c.want) })
	}
}

func TestCommentsThatSayNothingOrTooMuch(t *testing.T) {
	k := newKey(t)
	for _, comment := range []string{
		"", "timestamp:1 file:x", "name=a version=1", "version=1 arch=x", "name=a", "config=x",
		"name=a name=b version=1 arch=x", "name=a version=1 arch=x config=y", "name=a version=1 arch=x reply=1",
		"reply=2", "keylist=-1", "keylist=x", "keylist=1 reply=1",
	} {
		file := minisignSign(t, k, tarball, comment)
		_, err := trust.ParseSignature(file)
		wantCode(t, err, trust.OtherSubject)
	}
	file := minisignSign(t, k, tarball, "timestamp:1700000000\tfile:x.tar.gz\tname=falcon-agent version=5.1.0\tarch=linux_amd64 note=x")
	if s := parse(t, file).Subject; s != falcon {
		t.Errorf("read as %v", s)
	}
}

// minisignSign signs with the library that the package is built on, with any comment.
func minisignSign(t *testing.T, k trust.PrivateKey, data []byte, comment string) []byte {
	t.Helper()
	file, err := k.File("")
	if err != nil {
		t.Fatal(err)
	}
	var raw minisign.PrivateKey
	if err := raw.UnmarshalText(file); err != nil {
		t.Fatal(err)
	}
	reader := minisign.NewReader(bytes.NewReader(data))
	if _, err := io.Copy(io.Discard, reader); err != nil {
		t.Fatal(err)
	}
	return reader.SignWithComments(raw, comment, "x")
}

// encrypted is the file of a private key that nobody uses, with a password.
const encrypted = `untrusted comment: minisign encrypted secret key
RWRTY0IyzkJjgkbV0tttMrkqMGNOHV6uJzZ7TvsP7Tsm8Wwe/rwAAAACAAAAAAAAAEAAAAAAl3vCWS9+sByhK7iG141Bhv2IJrUmA10KdLPzwIBWfBCH0vZKXG0PVLlTtGJeER4Q8xhW3IG0qduLPe++eSMpoiE9P0w2QuD3Q5uo1iyY+P6w5luFjRJFL4TKt0GDrq6ENU+jeONfGGg=
`

func TestKeysAreReadAndWritten(t *testing.T) {
	k := newKey(t)
	file, err := k.File("")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := trust.ParsePrivateKey(file, ""); err != nil || again.Public() != k.Public() {
		t.Errorf("read again: %v", err)
	}
	// What a password does costs a gigabyte and seconds, many with the race detector: the
	// script meta-keys tries it, with the programs and with minisign.
	if _, err := trust.ParsePrivateKey([]byte(encrypted), ""); !errors.Is(err, trust.ErrEncrypted) {
		t.Errorf("without its password: %v", err)
	}
	for _, text := range []string{k.Public().String(), k.Public().File(), "  " + k.Public().String() + "\n"} {
		if p, err := trust.ParsePublicKey(text); err != nil || p != k.Public() {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "RW", k.Public().String()[1:], strings.Repeat("x", 5000), "RWQ" + strings.Repeat("!", 53)} {
		if _, err := trust.ParsePublicKey(text); err == nil {
			t.Errorf("%q is read as a key", text)
		}
	}
}

func TestDebiansMinisignChecksWhatWeSignAndSignsWhatWeCheck(t *testing.T) {
	tool, err := exec.LookPath("minisign")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("minisign is not installed")
		}
		t.Skip("SKIPPED: minisign is not installed")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(tool, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("minisign %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	write("x.tar.gz", tarball)

	ours := newKey(t)
	write("x.tar.gz.minisig", ours.Sign(tarball, falcon))
	run("-Vm", "x.tar.gz", "-P", ours.Public().String())
	streamed, err := ours.SignReader(bytes.NewReader(tarball), falcon)
	if err != nil {
		t.Fatal(err)
	}
	write("x.tar.gz.minisig", streamed)
	run("-Vm", "x.tar.gz", "-P", ours.Public().String())

	run("-GW", "-p", "their.pub", "-s", "their.key")
	run("-S", "-m", "x.tar.gz", "-s", "their.key", "-t", falcon.Comment())
	theirs, err := trust.ParsePublicKey(string(read("their.pub")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(t, read("x.tar.gz.minisig")).Verify(trust.Keys{theirs}, trust.DigestOf(tarball), falcon); err != nil {
		t.Error(err)
	}
	secret, err := trust.ParsePrivateKey(read("their.key"), "")
	if err != nil || secret.Public() != theirs {
		t.Errorf("their private key: %v", err)
	}
	run("-S", "-l", "-m", "x.tar.gz", "-s", "their.key", "-t", falcon.Comment())
	_, err = trust.ParseSignature(read("x.tar.gz.minisig"))
	wantCode(t, err, trust.BadSignature)
}

// reply is a reply of a server to host h.
type reply struct {
	body []byte
	said trust.Statement
}

var now = time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)

func replyWith(change func(*trust.Statement)) reply {
	said := trust.Statement{Host: "h", Serial: 10, Expires: now.Add(time.Hour)}
	change(&said)
	return reply{[]byte("the body"), said}
}

func TestWhichRepliesAreBelieved(t *testing.T) {
	server, stolen, root := newKey(t), newKey(t), newKey(t)
	anchors := trust.Anchors{Servers: trust.Keys{server.Public()}}
	heard := trust.Heard{Serial: 9}
	for name, c := range map[string]struct {
		reply  reply
		header string
		want   trust.Code
	}{
		"good":          {replyWith(func(*trust.Statement) {}), "", ""},
		"the same":      {replyWith(func(s *trust.Statement) { s.Serial = 9 }), "", ""},
		"older":         {replyWith(func(s *trust.Statement) { s.Serial = 8 }), "", trust.SerialBack},
		"expired":       {replyWith(func(s *trust.Statement) { s.Expires = now }), "", trust.Expired},
		"without end":   {replyWith(func(s *trust.Statement) { s.Expires = time.Time{} }), "", trust.Expired},
		"another's":     {replyWith(func(s *trust.Statement) { s.Host = "g" }), "", trust.OtherHost},
		"unsigned":      {replyWith(func(*trust.Statement) {}), "-", trust.Unsigned},
		"no base64":     {replyWith(func(*trust.Statement) {}), "!", trust.BadSignature},
		"another key":   {replyWith(func(*trust.Statement) {}), trust.EncodeHeader(stolen.Sign([]byte("the body"), trust.Reply())), trust.UnknownKey},
		"root's key":    {replyWith(func(*trust.Statement) {}), trust.EncodeHeader(root.Sign([]byte("the body"), trust.Reply())), trust.UnknownKey},
		"other bytes":   {replyWith(func(*trust.Statement) {}), trust.EncodeHeader(server.Sign([]byte("a body"), trust.Reply())), trust.BadSignature},
		"not as reply":  {replyWith(func(*trust.Statement) {}), trust.EncodeHeader(server.Sign([]byte("the body"), falcon)), trust.OtherSubject},
		"list unsigned": {replyWith(func(s *trust.Statement) { s.List = &trust.SignedList{List: "{}"} }), "", ""}, // no root keys: lists are none of our business
	} {
		t.Run(name, func(t *testing.T) {
			header := c.header
			switch header {
			case "":
				header = trust.EncodeHeader(server.Sign(c.reply.body, trust.Reply()))
			case "-":
				header = ""
			}
			next, err := heard.Judge(anchors, c.reply.body, header, c.reply.said, "h", now)
			wantCode(t, err, c.want)
			if want := map[bool]int64{true: c.reply.said.Serial, false: 9}[c.want == ""]; next.Serial != want {
				t.Errorf("serial %d is kept, want %d", next.Serial, want)
			}
		})
	}
}

func TestAListOfKeysBeginsAnEpoch(t *testing.T) {
	root, old, fresh := newKey(t), newKey(t), newKey(t)
	anchors := trust.Anchors{Roots: trust.Keys{root.Public()}, Servers: trust.Keys{old.Public()}}
	list := func(k trust.PrivateKey, epoch int64) *trust.SignedList {
		t.Helper()
		s, err := k.SignList(trust.KeyList{Epoch: epoch, Issued: now, Keys: []trust.Key{{Key: fresh.Public(), Use: trust.UseServer, NotAfter: now.Add(2 * time.Hour)}}})
		if err != nil {
			t.Fatal(err)
		}
		return &s
	}
	judge := func(h trust.Heard, k trust.PrivateKey, r reply) (trust.Heard, error) {
		return h.Judge(anchors, r.body, trust.EncodeHeader(k.Sign(r.body, trust.Reply())), r.said, "h", now)
	}
	// The old key was stolen, and the serial driven up.
	heard, err := judge(trust.Heard{}, old, replyWith(func(s *trust.Statement) { s.Serial = 1 << 60 }))
	wantCode(t, err, "")
	_, err = judge(heard, fresh, replyWith(func(*trust.Statement) {}))
	wantCode(t, err, trust.UnknownKey)
	// A list that no root key signed counts for nothing.
	same, err := judge(heard, fresh, replyWith(func(s *trust.Statement) { s.Epoch, s.List = 1, list(fresh, 1) }))
	wantCode(t, err, trust.UnknownKey)
	if same != heard {
		t.Error("a list that nobody vouched for was heard")
	}
	// One that it signed begins anew, and ends the old key.
	next, err := judge(heard, fresh, replyWith(func(s *trust.Statement) { s.Epoch, s.List = 1, list(root, 1) }))
	wantCode(t, err, "")
	if next.Epoch != 1 || next.Serial != 10 {
		t.Errorf("epoch %d, serial %d", next.Epoch, next.Serial)
	}
	_, err = judge(next, old, replyWith(func(s *trust.Statement) { s.Epoch, s.Serial = 1, 11 }))
	wantCode(t, err, trust.UnknownKey)
	// Epochs do not go back, nor do replies of another one count.
	back, err := judge(next, fresh, replyWith(func(s *trust.Statement) { s.Epoch, s.Serial, s.List = 1, 11, list(root, 1) }))
	wantCode(t, err, "")
	if back.Serial != 11 {
		t.Errorf("serial %d", back.Serial)
	}
	_, err = judge(next, fresh, replyWith(func(s *trust.Statement) { s.Epoch, s.Serial = 2, 11 }))
	wantCode(t, err, trust.EpochBack)
	_, err = judge(next, fresh, replyWith(func(s *trust.Statement) { s.Epoch, s.Serial = 0, 11 }))
	wantCode(t, err, trust.EpochBack)
	// The key's own end.
	if keys := next.Counting(anchors).Keys(trust.UseServer, now.Add(3*time.Hour)); len(keys) != 0 {
		t.Errorf("%v count after their end", keys.IDs())
	}
	// Who takes the root key out of the configuration takes the list with it.
	if keys := next.Counting(trust.Anchors{Servers: anchors.Servers}).Keys(trust.UseServer, now); len(keys) != 1 || keys[0] != old.Public() {
		t.Errorf("without root keys %v count", keys.IDs())
	}
}

func TestListsThatAreNone(t *testing.T) {
	root := newKey(t)
	key := newKey(t).Public()
	for name, l := range map[string]trust.KeyList{
		"epoch 0":       {Keys: []trust.Key{{Key: key, Use: trust.UseServer}}},
		"root's key":    {Epoch: 1, Keys: []trust.Key{{Key: key, Use: trust.UseRoot}}},
		"twice":         {Epoch: 1, Keys: []trust.Key{{Key: key, Use: trust.UseServer}, {Key: key, Use: trust.UseRelease}}},
		"too many keys": {Epoch: 1, Keys: make([]trust.Key, trust.MaxListKeys+1)},
	} {
		if _, err := root.SignList(l); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	good, err := root.SignList(trust.KeyList{Epoch: 3, Issued: now, Keys: []trust.Key{{Key: key, Use: trust.UseRelease}}})
	if err != nil {
		t.Fatal(err)
	}
	roots := trust.Keys{root.Public()}
	if l, err := good.Verify(roots); err != nil || l.Epoch != 3 {
		t.Fatalf("a good list: %v", err)
	}
	for name, s := range map[string]trust.SignedList{
		"another epoch": {strings.Replace(good.List, `"epoch":3`, `"epoch":4`, 1), good.Signature},
		"of a reply":    {good.List, string(root.Sign([]byte(good.List), trust.Reply()))},
		"of 4, says 3":  {good.List, string(root.Sign([]byte(good.List), trust.List(4)))},
		"deep":          {strings.Repeat("[", 100000), good.Signature},
		"huge":          {strings.Repeat(" ", trust.MaxListBytes+1), good.Signature},
		"empty":         {},
	} {
		if _, err := s.Verify(roots); trust.CodeOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
