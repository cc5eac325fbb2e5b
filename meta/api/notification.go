package api

import (
	"encoding/json"
	"time"
)

// Kinds of [NotificationTarget].
const (
	NotifyWebhook = "webhook"
	NotifyMail    = "mail"
)

// NotificationTarget is who is told of rollout transitions and failing hosts.
type NotificationTarget struct {
	Name     string   `json:"name"`
	Kind     string   `json:"kind"`               // webhook, mail
	URL      string   `json:"url,omitempty"`      // webhook
	Secret   string   `json:"secret,omitempty"`   // signs webhooks; written, never shown
	To       []string `json:"to,omitempty"`       // mail
	Events   []string `json:"events,omitempty"`   // rollout, host; empty: all
	Agents   []string `json:"agents,omitempty"`   // only of these agents; empty: all
	Subject  string   `json:"subject,omitempty"`  // text/template; empty: the built-in one
	Body     string   `json:"body,omitempty"`     // text/template; empty: the built-in one
	Disabled bool     `json:"disabled,omitempty"` // kept, but told nothing
	Revision int64    `json:"revision,omitempty"`
}

// DeadLetter is a notification that could not be delivered.
type DeadLetter struct {
	ID       int64           `json:"id"`
	Target   string          `json:"target"`
	Event    string          `json:"event"`
	Payload  json.RawMessage `json:"payload"`
	Error    string          `json:"error"`
	Attempts int             `json:"attempts"`
	First    time.Time       `json:"first"`
	Last     time.Time       `json:"last"`
}
