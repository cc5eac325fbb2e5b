package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta"
	"github.com/ops-updater/ops-updater/meta/trust"
)

// Trust is what this host verifies, and with which keys.
type Trust struct {
	Releases meta.TrustMode // signatures of tarballs
	Configs  meta.TrustMode // signatures of remote configurations
	Desired  meta.TrustMode // signatures of replies
	Anchors  trust.Anchors

	mode meta.TrustMode // of a part that says nothing
}

// Any reports whether anything is verified.
func (t Trust) Any() bool {
	return isOn(t.Releases) || isOn(t.Configs) || isOn(t.Desired)
}

func isOn(m meta.TrustMode) bool { return m == meta.TrustWarn || m == meta.TrustRequire }

var trustKeys = []key{
	{name: "mode", set: modeKey(func(t *Trust) *meta.TrustMode { return &t.mode })},
	{name: "releases", set: modeKey(func(t *Trust) *meta.TrustMode { return &t.Releases })},
	{name: "configs", set: modeKey(func(t *Trust) *meta.TrustMode { return &t.Configs })},
	{name: "desired", set: modeKey(func(t *Trust) *meta.TrustMode { return &t.Desired })},
	{name: "release_keys", set: keysKey(func(t *Trust) *trust.Keys { return &t.Anchors.Releases })},
	{name: "server_keys", set: keysKey(func(t *Trust) *trust.Keys { return &t.Anchors.Servers })},
	{name: "root_keys", set: keysKey(func(t *Trust) *trust.Keys { return &t.Anchors.Roots })},
}

func modeKey(at func(*Trust) *meta.TrustMode) func(*Config, json.RawMessage) error {
	return choiceKey(func(c *Config) *meta.TrustMode { return at(&c.Trust) }, meta.TrustOff, meta.TrustWarn, meta.TrustRequire)
}

// maxPublicKeyFile is far above any .pub file.
const maxPublicKeyFile = 4 << 10

// keysKey takes public keys: each the text RW…, or the path of its .pub file, which is
// read now, so that a reload picks up a new one.
func keysKey(at func(*Trust) *trust.Keys) func(*Config, json.RawMessage) error {
	return func(c *Config, raw json.RawMessage) error {
		const want = `a public key of minisign ("RW…"), the path of its .pub file, or a list of them`
		var list []string
		var one string
		if json.Unmarshal(raw, &one) == nil {
			list = []string{one}
		} else if err := decodeAs(raw, &list, want); err != nil {
			return err
		}
		var keys trust.Keys
		for _, entry := range list {
			k, err := readPublicKey(filepath.Dir(c.Path), strings.TrimSpace(entry))
			if err != nil {
				return err
			}
			if _, twice := keys.Find(k.ID()); twice {
				return fmt.Errorf("key %s is listed twice", k.ID())
			}
			keys = append(keys, k)
		}
		*at(&c.Trust) = keys
		return nil
	}
}

func readPublicKey(dir, entry string) (trust.PublicKey, error) {
	if !strings.ContainsAny(entry, "./") { // a key's base64 may have a slash, but no path lacks both
		return trust.ParsePublicKey(entry)
	}
	if k, err := trust.ParsePublicKey(entry); err == nil {
		return k, nil
	}
	if !filepath.IsAbs(entry) {
		entry = filepath.Join(dir, entry)
	}
	data, err := plainfile.ReadLinked(entry, maxPublicKeyFile)
	if err != nil {
		return trust.PublicKey{}, err
	}
	k, err := trust.ParsePublicKey(string(data))
	if err != nil {
		return k, fmt.Errorf("%s: %w", entry, err)
	}
	return k, nil
}

// complete gives the parts their default, and refuses a part that could believe nothing.
func (t *Trust) complete() error {
	for _, part := range []*meta.TrustMode{&t.Releases, &t.Configs, &t.Desired} {
		switch {
		case *part == "" && t.mode != "":
			*part = t.mode
		case *part == "":
			*part = meta.TrustOff
		}
	}
	for _, part := range []struct {
		name, keys string
		mode       meta.TrustMode
		own        trust.Keys
	}{
		{"releases", "release_keys", t.Releases, t.Anchors.Releases},
		{"configs", "release_keys", t.Configs, t.Anchors.Releases},
		{"desired", "server_keys", t.Desired, t.Anchors.Servers},
	} {
		if isOn(part.mode) && len(part.own) == 0 && len(t.Anchors.Roots) == 0 {
			return fmt.Errorf("trust.%s is %s, but no key could be believed: name one in trust.%s or in trust.root_keys, or set trust.%s to \"off\"", part.name, part.mode, part.keys, part.name)
		}
	}
	return nil
}

// warnings are what an operator should know about t at every start.
func (t Trust) warnings() []string {
	var w []string
	keys := len(t.Anchors.Releases) + len(t.Anchors.Servers) + len(t.Anchors.Roots)
	if keys > 0 && !t.Any() {
		w = append(w, "trust names keys and verifies nothing: set trust.mode to \"warn\" or \"require\"")
	}
	if isOn(t.Releases) && t.Configs == meta.TrustOff {
		w = append(w, "trust.configs is off while trust.releases is "+string(t.Releases)+": a server that was taken over can still change what agents read from their remote configuration")
	}
	return w
}
