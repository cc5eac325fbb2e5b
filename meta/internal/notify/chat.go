package notify

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackutilsx"

	"github.com/ops-updater/ops-updater/meta/api"
)

// maxChatText bounds a message: Slack cuts beyond 40 000 characters, others refuse sooner.
const maxChatText = 4000

// maxAnswer bounds what is read of a chat's answer.
const maxAnswer = 64 << 10

// deliverChat posts a notice to a chat's incoming webhook.
func (w *webhook) deliverChat(ctx context.Context, t api.NotifyTarget, n api.Notice) *failure {
	message, err := chatMessage(t, n)
	if err != nil {
		return &failure{err: err, permanent: true}
	}
	client := *w.client
	client.Transport = boundedAnswers{client.Transport}
	err = slack.PostWebhookCustomHTTPContext(ctx, t.URL, &client, message)
	limited, isLimited := errors.AsType[*slack.RateLimitedError](err)
	refused, isRefused := errors.AsType[slack.StatusCodeError](err)
	switch {
	case err == nil:
		return nil
	case isLimited:
		return &failure{err: errors.New("the chat takes no more messages for now"), after: min(limited.RetryAfter, maxAfter)}
	case isRefused:
		return &failure{err: errors.New("the chat answers " + refused.Status), permanent: !mayPass(refused.Code)}
	}
	return unreachable(ctx, err)
}

// chatMessage is what is said: the target's template, or the notice's message with a line
// of what it is about.
func chatMessage(t api.NotifyTarget, n api.Notice) (*slack.WebhookMessage, error) {
	if t.Template != "" {
		text, err := textOf(t, n)
		return &slack.WebhookMessage{Text: clipRunes(text, maxChatText)}, err
	}
	text := slackutilsx.EscapeMessage(clipRunes(n.Message, maxChatText)) // before the link, which is not to be cut
	if n.Link != "" {
		text += " <" + n.Link + "|look>"
	}
	about := slack.Attachment{Color: colorOf(n)}
	for _, f := range []slack.AttachmentField{
		{Title: "Agent", Value: strings.TrimSpace(n.Agent + " " + n.Version)},
		{Title: "Host", Value: n.Host},
		{Title: "Rollout", Value: n.Rollout},
		{Title: "Reason", Value: strings.Join(strings.Fields(n.Reason+" "+n.HostReason), ", ")},
		{Title: "By", Value: n.Actor},
	} {
		if f.Value != "" {
			f.Value, f.Short = slackutilsx.EscapeMessage(f.Value), true
			about.Fields = append(about.Fields, f)
		}
	}
	m := &slack.WebhookMessage{Text: text}
	if len(about.Fields) > 0 {
		m.Attachments = []slack.Attachment{about}
	}
	return m, nil
}

// colorOf is how bad a notice is, as chats paint it.
func colorOf(n api.Notice) string {
	switch n.Event {
	case api.NotifyHostFailed, api.NotifyRollout + string(api.RolloutAborted), api.NotifyRollout + string(api.RolloutRollingBack):
		return "danger"
	case api.NotifyHostReturned, api.NotifyRollout + string(api.RolloutCompleted):
		return "good"
	case api.NotifyHostSilent, api.NotifyRollout + string(api.RolloutPaused):
		return "warning"
	}
	return ""
}

func clipRunes(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

// boundedAnswers cuts what is read of an answer: a client that drains it would do so without
// an end.
type boundedAnswers struct{ http.RoundTripper }

func (b boundedAnswers) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}
