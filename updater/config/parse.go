package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/ops-updater/ops-updater/internal/printable"
)

// secretKeys are the keys of cfg.json whose values are shown to nobody.
var secretKeys = []string{"token", "enroll_token", "env", "proxy"}

// parser walks cfg.json key by key, so that an error can name its line.
type parser struct {
	file string
	data []byte
	dec  *json.Decoder
}

func parseFile(c *Config, file string, data []byte) error {
	p := &parser{file: file, data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	if err := p.parseObject(c, "", allKeys); err != nil {
		return err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		if what, at := findUnseen(p.data); what != "" {
			return fmt.Errorf("%s:%d: not valid JSON: %s", p.file, lineAt(p.data, int64(at)), what)
		}
		return p.errorf("want nothing after the closing }")
	}
	return nil
}

// parseObject reads one { … } whose keys are known.
func (p *parser) parseObject(c *Config, prefix string, keys []key) error {
	tok, err := p.dec.Token()
	if err != nil {
		return p.explainSyntax(err)
	}
	if tok == nil && prefix != "" {
		return nil // "http": null, as an absent one
	}
	if tok != json.Delim('{') {
		return p.errorf("%swant an object { … }", strings.Replace(prefix, ".", ": ", 1))
	}
	seen := map[string]bool{}
	for p.dec.More() {
		if err := p.parsePair(c, prefix, keys, seen); err != nil {
			return err
		}
	}
	if _, err := p.dec.Token(); err != nil {
		return p.explainSyntax(err)
	}
	return nil
}

func (p *parser) parsePair(c *Config, prefix string, keys []key, seen map[string]bool) error {
	tok, err := p.dec.Token()
	if err != nil {
		return p.explainSyntax(err)
	}
	name, _ := tok.(string)
	key, known := findKey(keys, name)
	if !known {
		return p.errorf("unknown key %q%s", prefix+name, suggestKey(prefix, name, keys))
	}
	if seen[name] {
		return p.errorf("%s is set twice", prefix+name)
	}
	seen[name] = true
	if key.keys != nil {
		return p.parseObject(c, prefix+name+".", key.keys)
	}
	line := p.lineNow()
	var raw json.RawMessage
	if err := p.dec.Decode(&raw); err != nil {
		return p.explainSyntax(err)
	}
	if string(raw) == "null" {
		return nil
	}
	if err := key.set(c, raw); err != nil {
		if slices.Contains(secretKeys, name) {
			err = errors.New(strings.ReplaceAll(err.Error(), printable.Clip(string(raw)), "(hidden)"))
		}
		return fmt.Errorf("%s:%d: %s: %w", p.file, line, prefix+name, err)
	}
	return nil
}

func findKey(keys []key, name string) (key, bool) {
	for _, k := range keys {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

// suggestKey suggests the known key closest to name, wherever it lives, unless
// none is close.
func suggestKey(prefix, name string, keys []key) string {
	best, distance := "", max(2, len(name)/2)+1
	consider := func(candidate, key string) {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(key)); d < distance {
			best, distance = candidate, d
		}
	}
	for _, k := range keys {
		consider(prefix+k.name, k.name)
	}
	for _, full := range Keys() {
		consider(full, full[strings.LastIndex(full, ".")+1:])
	}
	if best == "" {
		return "; docs/CONFIG.md lists the known ones"
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

func (p *parser) lineNow() int { return lineAt(p.data, p.dec.InputOffset()) }

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.file, p.lineNow(), fmt.Sprintf(format, args...))
}

// explainSyntax explains what the JSON reader stumbled over.
func (p *parser) explainSyntax(err error) error {
	offset := p.dec.InputOffset()
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = max(se.Offset, offset)
	}
	if what, at := findUnseen(p.data); what != "" && at <= int(offset)+1 {
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
		return fmt.Errorf("want %s, got %s", want, printable.Clip(string(raw)))
	}
	return nil
}

// Redacted is cfg.json as it is on disk, without its secrets.
func (c Config) Redacted() (json.RawMessage, error) {
	data, err := readFile(c.Path)
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
