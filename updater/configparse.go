package updater

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// secretKeys are the keys of cfg.json whose values are shown to nobody.
var secretKeys = []string{"token", "env", "proxy"}

// configParser walks cfg.json key by key, so that an error can name its line.
type configParser struct {
	file string
	data []byte
	dec  *json.Decoder
}

func parseConfig(c *Config, file string, data []byte) error {
	p := &configParser{file: file, data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	if err := p.object(c, "", configKeys); err != nil {
		return err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		if what, at := unseen(p.data); what != "" {
			return fmt.Errorf("%s:%d: not valid JSON: %s", p.file, lineAt(p.data, int64(at)), what)
		}
		return p.errorf("want nothing after the closing }")
	}
	return nil
}

// object reads one { … } whose keys are known.
func (p *configParser) object(c *Config, prefix string, keys []configKey) error {
	tok, err := p.dec.Token()
	if err != nil {
		return p.syntax(err)
	}
	if tok == nil && prefix != "" {
		return nil // "http": null, as an absent one
	}
	if tok != json.Delim('{') {
		return p.errorf("%swant an object { … }", strings.Replace(prefix, ".", ": ", 1))
	}
	seen := map[string]bool{}
	for p.dec.More() {
		if err := p.pair(c, prefix, keys, seen); err != nil {
			return err
		}
	}
	if _, err := p.dec.Token(); err != nil {
		return p.syntax(err)
	}
	return nil
}

func (p *configParser) pair(c *Config, prefix string, keys []configKey, seen map[string]bool) error {
	tok, err := p.dec.Token()
	if err != nil {
		return p.syntax(err)
	}
	name, _ := tok.(string)
	key, known := findKey(keys, name)
	if !known {
		return p.errorf("unknown key %q%s", prefix+name, nearest(prefix, name, keys))
	}
	if seen[name] {
		return p.errorf("%s is set twice", prefix+name)
	}
	seen[name] = true
	if key.keys != nil {
		return p.object(c, prefix+name+".", key.keys)
	}
	line := p.line()
	var raw json.RawMessage
	if err := p.dec.Decode(&raw); err != nil {
		return p.syntax(err)
	}
	if string(raw) == "null" {
		return nil
	}
	if err := key.set(c, raw); err != nil {
		if slices.Contains(secretKeys, name) {
			err = errors.New(strings.ReplaceAll(err.Error(), clipRaw(raw), "(hidden)"))
		}
		return fmt.Errorf("%s:%d: %s: %w", p.file, line, prefix+name, err)
	}
	return nil
}

func findKey(keys []configKey, name string) (configKey, bool) {
	for _, k := range keys {
		if k.name == name {
			return k, true
		}
	}
	return configKey{}, false
}

// nearest suggests the known key closest to name, wherever it lives, unless
// none is close.
func nearest(prefix, name string, keys []configKey) string {
	best, distance := "", max(2, len(name)/2)+1
	consider := func(candidate, key string) {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(key)); d < distance {
			best, distance = candidate, d
		}
	}
	for _, k := range keys {
		consider(prefix+k.name, k.name)
	}
	for _, full := range ConfigKeys() {
		consider(full, full[strings.LastIndex(full, ".")+1:])
	}
	if best == "" {
		return "; docs/CONFIG.md lists the known ones"
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

func (p *configParser) line() int { return lineAt(p.data, p.dec.InputOffset()) }

func (p *configParser) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.file, p.line(), fmt.Sprintf(format, args...))
}

// syntax explains what the JSON reader stumbled over.
func (p *configParser) syntax(err error) error {
	offset := p.dec.InputOffset()
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = max(se.Offset, offset)
	}
	if what, at := unseen(p.data); what != "" && at <= int(offset)+1 {
		return fmt.Errorf("%s:%d: not valid JSON: %s", p.file, lineAt(p.data, int64(at)), what)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s:%d: the file ends in the middle: is a } missing?", p.file, lineAt(p.data, int64(len(p.data))))
	}
	return fmt.Errorf("%s:%d: not valid JSON: %w", p.file, lineAt(p.data, offset), err)
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(int(offset), len(data))], []byte("\n"))
}

// decodeAs unmarshals raw or says what was wanted.
func decodeAs(raw json.RawMessage, into any, want string) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("want %s, got %s", want, clipRaw(raw))
	}
	return nil
}

func clipRaw(raw json.RawMessage) string {
	if len(raw) > 60 {
		return string(raw[:60]) + "…"
	}
	return string(raw)
}

// Redacted is cfg.json as it is on disk, without its secrets.
func (c Config) Redacted() (json.RawMessage, error) {
	data, err := readConfigFile(c.Path)
	if err != nil {
		return nil, err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return nil, err
	}
	for _, secret := range secretKeys {
		if _, set := keys[secret]; set {
			keys[secret] = json.RawMessage(`"(hidden)"`)
		}
	}
	return json.Marshal(keys)
}
