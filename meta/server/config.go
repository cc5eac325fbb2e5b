package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	"github.com/ops-updater/ops-updater/internal/plainfile"
	"github.com/ops-updater/ops-updater/meta/api"
	"github.com/ops-updater/ops-updater/meta/internal/backend"
	"github.com/ops-updater/ops-updater/meta/internal/fleet"
)

// Config is how one ops-meta runs. A file, the environment and flags each
// say what the one before left out or said otherwise.
type Config struct {
	Listen    string `yaml:"listen"`    // host:port [127.0.0.1:2000]
	Data      string `yaml:"data"`      // directory of everything that is kept
	DB        string `yaml:"db"`        // postgres://…; empty: SQLite in Data
	Artifacts string `yaml:"artifacts"` // s3://KEY:SECRET@HOST/BUCKET/PREFIX, see release.ParseS3; empty: a directory in Data
	PublicURL string `yaml:"publicUrl"` // this server as hosts reach it; empty: from Listen

	TLSCert  string `yaml:"tlsCert"`  // PEM file; with TLSKey turns TLS on
	TLSKey   string `yaml:"tlsKey"`   // PEM file
	ClientCA string `yaml:"clientCa"` // PEM file; a client certificate from it is its host's credential

	Heartbeats      string   `yaml:"heartbeats"`      // open, credential; empty: open on a loopback address only
	Interval        Seconds  `yaml:"interval"`        // between heartbeats; 0: each host's own
	DesiredLifetime Seconds  `yaml:"desiredLifetime"` // of a signed reply [24h]
	TrustedProxies  []string `yaml:"trustedProxies"`  // networks whose X-Forwarded-For is believed
	FailuresPerMin  int      `yaml:"failuresPerMin"`  // wrong tokens per address [30]
	EnrolPerMin     int      `yaml:"enrolPerMin"`     // enrolments per address [600]
	MaxTarball      int64    `yaml:"maxTarball"`      // bytes [2 GiB]

	KeepEvents  Days `yaml:"keepEvents"`  // of hosts' timelines [90]
	ForgetHosts Days `yaml:"forgetHosts"` // of silence after which a host is forgotten; 0: never

	SMTP SMTP `yaml:"smtp"` // how mail is sent
	OIDC OIDC `yaml:"oidc"` // who vouches for people

	LogLevel  string `yaml:"logLevel"`  // debug, info, warn, error [info]
	LogFormat string `yaml:"logFormat"` // json, pretty; empty: pretty on a terminal
	LogFile   string `yaml:"logFile"`   // rotated; empty: the standard error
	Pprof     bool   `yaml:"pprof"`     // serve /debug/pprof to admins
}

// SMTP is the mail server that notifications go through.
type SMTP struct {
	Addr     string `yaml:"addr"` // host:port; empty: no mail
	From     string `yaml:"from"`
	User     string `yaml:"user"`
	Password string `yaml:"password"`
	TLS      string `yaml:"tls"` // starttls (default), tls, none
}

// DefaultListen is where a server listens unless told.
const DefaultListen = "127.0.0.1:2000"

// Heartbeat settings.
const (
	HeartbeatsOpen       = "open"
	HeartbeatsCredential = "credential"
)

// maxConfig bounds a configuration file.
const maxConfig = 1 << 20

// LoadConfig reads a YAML or JSON file into c. A key that is not known is an
// error that names its line and the nearest key that is.
func LoadConfig(path string, c *Config) error {
	data, err := plainfile.ReadLinked(path, maxConfig)
	if err != nil {
		return backend.HintOddFile(fmt.Errorf("cannot read configuration: %w", err), "give the file with the settings")
	}
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil
	}
	if _, err := parser.ParseBytes(data, 0); err != nil {
		return badConfig(path, err)
	}
	if err := yaml.UnmarshalWithOptions(data, c, yaml.DisallowUnknownField()); err != nil {
		return badConfig(path, err)
	}
	return nil
}

// badConfig says where the file is wrong, and which key was meant.
func badConfig(path string, err error) error {
	e := &api.Error{
		Kind: api.KindInvalid, Message: fmt.Sprintf("cannot use configuration %s: %s", path, yaml.FormatError(err, false, true)),
		Hint: "mend the file; ops-meta serve --config FILE --check tries it",
	}
	var unknown *yaml.UnknownFieldError
	if !errors.As(err, &unknown) {
		return e
	}
	_, key, _ := strings.Cut(unknown.Message, `"`)
	key, _, _ = strings.Cut(key, `"`)
	if near := api.Nearest(key, configKeys(reflect.TypeFor[Config]())); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	return e
}

func configKeys(t reflect.Type) []string {
	var keys []string
	for f := range t.Fields() {
		keys = append(keys, f.Tag.Get("yaml"))
		if f.Type.Kind() == reflect.Struct {
			keys = append(keys, configKeys(f.Type)...)
		}
	}
	return keys
}

// EnvPrefix begins the names of environment variables: publicUrl is
// OPS_META_PUBLIC_URL.
const EnvPrefix = "OPS_META_"

// ReadEnv takes what the environment says into c; smtp's keys are
// OPS_META_SMTP_ADDR and so on.
func ReadEnv(lookup func(string) (string, bool), c *Config) error {
	return readEnv(lookup, EnvPrefix, reflect.ValueOf(c).Elem())
}

func readEnv(lookup func(string) (string, bool), prefix string, v reflect.Value) error {
	for i := range v.NumField() {
		name := prefix + envName(v.Type().Field(i).Tag.Get("yaml"))
		field := v.Field(i)
		if field.Kind() == reflect.Struct {
			if err := readEnv(lookup, name+"_", field); err != nil {
				return err
			}
			continue
		}
		text, ok := lookup(name)
		if !ok {
			continue
		}
		if err := setField(field, text); err != nil {
			return fmt.Errorf("%s=%q: %w", name, text, err)
		}
	}
	return nil
}

// envName turns publicUrl into PUBLIC_URL.
func envName(key string) string {
	var b strings.Builder
	for i, r := range key {
		if r >= 'A' && r <= 'Z' && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

func setField(field reflect.Value, text string) error {
	if length, ok := field.Addr().Interface().(interface{ Set(string) error }); ok {
		return length.Set(text)
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Bool:
		on, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("want true or false")
		}
		field.SetBool(on)
	case reflect.Slice:
		field.Set(reflect.ValueOf(strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })))
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errors.New("want a number")
		}
		field.SetInt(n)
	}
	return nil
}

// Validate checks everything that can be checked without starting.
func (c Config) Validate() error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	if _, err := c.trustedNetworks(); err != nil {
		return &api.Error{Kind: api.KindInvalid, Field: "trustedProxies", Message: err.Error()}
	}
	if _, err := c.OIDC.newProvider(); err != nil {
		return err
	}
	return new(certificate).loadPair(c)
}

// withDefaults fills in what was left out and checks the rest.
func (c Config) withDefaults() (Config, error) {
	if c.Data == "" {
		return c, &api.Error{Kind: api.KindInvalid, Field: "data", Message: "no data directory is given", Hint: "say where to keep everything: --data DIR"}
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return c, &api.Error{Kind: api.KindInvalid, Field: "listen", Message: fmt.Sprintf("listen %q is not host:port", c.Listen), Hint: "such as 0.0.0.0:2000, or 127.0.0.1:2000 for this machine only"}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") || c.ClientCA != "" && c.TLSCert == "" {
		return c, &api.Error{Kind: api.KindInvalid, Field: "tlsCert", Message: "TLS needs both a certificate and its key", Hint: "give --tls-cert and --tls-key; --client-ca comes on top of them"}
	}
	if err := c.settleHeartbeats(host); err != nil {
		return c, err
	}
	if err := c.settleLifetime(); err != nil {
		return c, err
	}
	if c.KeepEvents == 0 {
		c.KeepEvents = 90
	}
	if c.PublicURL == "" && port != "0" {
		c.PublicURL = c.ownURL(host, port)
	}
	return c, nil
}

// leastBeats is how many heartbeats a host makes at least while a signed reply counts:
// it gets a new one after half of that, and one of them may be lost.
const leastBeats = 4

func (c *Config) settleLifetime() error {
	least := leastBeats * time.Duration(c.Interval) * time.Second
	if c.DesiredLifetime == 0 {
		c.DesiredLifetime = Seconds(max(fleet.DefaultLifetime, least) / time.Second)
		return nil
	}
	if c.Interval == 0 {
		least = leastBeats * fleet.DefaultInterval // most likely
	}
	if lifetime := time.Duration(c.DesiredLifetime) * time.Second; lifetime < least {
		return &api.Error{
			Kind: api.KindInvalid, Field: "desiredLifetime", Message: fmt.Sprintf("desiredLifetime %v is too short: hosts report every %v", lifetime, least/leastBeats),
			Hint: fmt.Sprintf("want %v or more, such as 24h", least),
		}
	}
	return nil
}

func (c *Config) settleHeartbeats(host string) error {
	switch c.Heartbeats {
	case HeartbeatsOpen, HeartbeatsCredential:
	case "":
		c.Heartbeats = HeartbeatsCredential
		if addr, err := netip.ParseAddr(host); err == nil && addr.IsLoopback() || host == "localhost" {
			c.Heartbeats = HeartbeatsOpen
		}
	default:
		return &api.Error{
			Kind: api.KindInvalid, Field: "heartbeats", Message: fmt.Sprintf("heartbeats %q is not known", c.Heartbeats),
			Hint: "want open (a trusted network, old clients) or credential (each host enrols)",
		}
	}
	return nil
}

// ownURL is this server's address as other machines most likely reach it.
func (c Config) ownURL(host, port string) string {
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// trustedNetworks are the trusted networks; a single address is one of them too.
func (c Config) trustedNetworks() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range c.TrustedProxies {
		if addr, err := netip.ParseAddr(text); err == nil {
			all = append(all, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("trustedProxies: %q is neither an address nor a network", text)
		}
		all = append(all, p)
	}
	return all, nil
}

// settings are those that count at once when they change.
func (c Config) settings() backend.Settings {
	return backend.Settings{PublicURL: c.PublicURL, Interval: int(c.Interval), DesiredLifetime: int(c.DesiredLifetime)}
}

func (c Config) path(elem ...string) string {
	return filepath.Join(append([]string{c.Data}, elem...)...)
}
