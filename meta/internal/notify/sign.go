package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ops-updater/ops-updater/meta/api"
)

// Headers of a webhook, beside those of Standard Webhooks. The signature is
//
//	v1=hex(HMAC-SHA256(secret, timestamp + "." + body))
//
// with the timestamp in Unix seconds as the header has it. A receiver checks
// the signature first and then that the timestamp is recent, so that nobody
// can send an old notice again.
const (
	HeaderEvent     = "X-Ops-Meta-Event"
	HeaderID        = "X-Ops-Meta-Id" // of the notice: the same in every try
	HeaderTimestamp = "X-Ops-Meta-Timestamp"
	HeaderSignature = "X-Ops-Meta-Signature"
)

func signBody(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}

// signStandard signs as Standard Webhooks 1.0 has it
// (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md), for receivers
// that check with a library.
func signStandard(h http.Header, secret, id string, now time.Time, body []byte) error {
	key, err := standardwebhooks.NewWebhookRaw([]byte(secret))
	if strings.HasPrefix(secret, api.StandardSecretPrefix) {
		key, err = standardwebhooks.NewWebhook(secret)
	}
	if err != nil {
		return fmt.Errorf("the target's secret is none: after %s comes base64", api.StandardSecretPrefix)
	}
	signature, err := key.Sign(id, now, body)
	if err != nil {
		return fmt.Errorf("cannot sign: %w", err)
	}
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, fmt.Sprint(now.Unix()))
	h.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return nil
}
