package api

import (
	"net/url"
	"time"
)

// NotifyTarget is somebody to be told when a rollout changes state or a host
// fails or goes silent.
type NotifyTarget struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`                // webhook, chat, mail
	URL       string   `json:"url,omitempty"`       // of a webhook or chat, which often is a secret: replies have its beginning only
	Addresses []string `json:"addresses,omitempty"` // of mail
	Events    []string `json:"events,omitempty"`    // NotifyEvents, or a prefix such as "rollout."; empty: all
	Agents    []string `json:"agents,omitempty"`    // only about these; empty: all
	Subject   string   `json:"subject,omitempty"`   // text/template of a mail's subject; empty: the built-in one
	Template  string   `json:"template,omitempty"`  // text/template of the text; empty: the built-in one
	Secret    string   `json:"secret,omitempty"`    // signs webhooks, whsec_ and base64 or any text; write-only, never in a reply; left out: as it was
	HasSecret bool     `json:"hasSecret,omitempty"` // in replies, instead of Secret
	Disabled  bool     `json:"disabled,omitempty"`
	Revision  int64    `json:"revision,omitempty"`
}

// hiddenPath stands for the part of a webhook's address that is not shown.
const hiddenPath = "/…"

// Redacted is t as it is shown to anybody: without its secret, and of its
// address only where it leads. Written back like that it keeps both.
func (t NotifyTarget) Redacted() NotifyTarget {
	t.HasSecret = t.HasSecret || t.Secret != ""
	t.Secret = ""
	if u, err := url.Parse(t.URL); t.URL != "" && err == nil {
		t.URL = u.Scheme + "://" + u.Host + hiddenPath
	} else if err != nil {
		t.URL = ""
	}
	return t
}

// ForViewers is t as it is shown to viewers, and to the audit
// log: also without its template, where services want their keys.
func (t NotifyTarget) ForViewers() NotifyTarget {
	t = t.Redacted()
	if t.Template != "" {
		t.Template = "…"
	}
	return t
}

// Kinds of a [NotifyTarget].
const (
	NotifyWebhook = "webhook"
	NotifyChat    = "chat" // an incoming webhook as Slack has them, and Mattermost, Rocket.Chat, Discord after it
	NotifyMail    = "mail"
)

// StandardSecretPrefix begins a webhook's secret as Standard Webhooks writes it: the key in
// base64 follows. Another secret is the key itself.
const StandardSecretPrefix = "whsec_"

// What a [Notice] can tell of. A rollout's events are "rollout." and
// its new state.
const (
	NotifyRollout      = "rollout."
	NotifyHostFailed   = "host.failed"
	NotifyHostSilent   = "host.silent"
	NotifyHostReturned = "host.returned"
	NotifyTest         = "test" // an operator tries a target
)

// Notice is one thing to tell: what a webhook receives as JSON and what
// templates see. It is the payload of a [Notification].
type Notice struct {
	ID      string    `json:"id"`    // the same in every try, so that a receiver can drop repeats
	Event   string    `json:"event"` // such as rollout.paused
	Time    time.Time `json:"time"`
	Agent   string    `json:"agent,omitempty"`
	Version string    `json:"version,omitempty"`
	Host    string    `json:"host,omitempty"`
	Rollout string    `json:"rollout,omitempty"`
	From    string    `json:"from,omitempty"` // state before
	To      string    `json:"to,omitempty"`
	Stage   int       `json:"stage,omitempty"`
	Actor   string    `json:"actor,omitempty"`
	Reason  string    `json:"reason,omitempty"` // machine-readable

	HostReason string `json:"hostReason,omitempty"` // the host's own code, such as wrong-digest

	Message  string       `json:"message"`        // for people
	Link     string       `json:"link,omitempty"` // to the page
	Progress []StageCount `json:"progress,omitempty"`
	Count    int          `json:"count,omitempty"` // hosts, when one notice tells of several
	Hosts    []string     `json:"hosts,omitempty"` // the first of them
}
