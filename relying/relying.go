// Package relying knows the parties that rely on us: an Account is a relying
// party's tenant with its keys, configurations and switches; an Operator may
// change it. Records only: store loads and saves them.
package relying

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"eidgate/eid"
)

// ErrUnknown means that no account, key or configuration of that name exists.
var ErrUnknown = errors.New("unknown account, key or configuration")

// An Account is a relying party's tenant.
type Account struct {
	ID             string                     `json:"id"`
	Name           string                     `json:"name"`                    // what people read: "Demo shop"
	Language       string                     `json:"language,omitempty"`      // of the pages; "" is that of the browser
	Hosts          []string                   `json:"hosts,omitempty"`         // return hosts; empty allows any in test
	Frames         []string                   `json:"frames,omitempty"`        // origins that may frame our pages
	EIDs           []eid.EID                  `json:"eids,omitempty"`          // allowed; empty allows all that are configured
	AllowedIPs     string                     `json:"allowed_ips,omitempty"`   // `;`-separated addresses, CIDR, address/mask, ranges; "" allows all
	Webhooks       map[eid.Environment]string `json:"webhooks,omitempty"`      // default notification address
	WebhookSecrets []Secret                   `json:"-"`                       // of Standard Webhooks, as they sign: "whsec_…", newest first, and then "whsk_…", newest first; stored sealed
	Keep           time.Duration              `json:"keep,omitempty"`          // how long personal data stays after the end; default 24 h, at least 5 min
	WebhookEmail   string                     `json:"webhook_email,omitempty"` // "thin" or "full"; "" is thin in live, full in test
	Limits         Limits                     `json:"limits"`
	Switches       Switches                   `json:"switches"`
	Configs        []Config                   `json:"configs,omitempty"`
	Layouts        []string                   `json:"layouts,omitempty"` // names of its themes
	Layout         string                     `json:"layout,omitempty"`  // the one that counts where nothing else does; "" for none
	Auto           string                     `json:"auto,omitempty"`    // sandbox ladder, tier 50
}

// A Config is one of several configurations of an account (`configid`). The
// agreements with eIDs that belong to it hold secrets and are not part of it.
type Config struct {
	ID       string                     `json:"id"`               // "" is what counts when a request names none
	Layout   string                     `json:"layout,omitempty"` // name of one of the account's themes
	Webhooks map[eid.Environment]string `json:"webhooks,omitempty"`
}

// Limits are how often each key and each OpenID client of an account may call,
// in a second and on one node; twice as often for a moment. Zero takes the
// default.
type Limits struct {
	Setups int `json:"setups,omitempty"` // of new sessions and logins; default 50
	Reads  int `json:"reads,omitempty"`  // of results, and all other calls of a client; default 200
}

// Switches make the ZignSec API behave as one of its older or newer clients
// expects (docs/apis/zignsec.md §12). The zero value is the default.
type Switches struct {
	DropStateOnSuccess      bool `json:"drop_state_on_success,omitempty"`
	LegacyErrorStatus       bool `json:"legacy_error_status,omitempty"` // 200 for 4xx other than 401 and 404
	PostMessageJSON         bool `json:"post_message_json,omitempty"`
	TargetErrorDetails      bool `json:"target_error_details,omitempty"`
	ItsmeLegacyNames        bool `json:"itsme_legacy_names,omitempty"`
	WebhookMaxAttempts      int  `json:"webhook_max_attempts,omitempty"` // 20 (default) or 3
	HMACHexUpper            bool `json:"hmac_hex_upper,omitempty"`
	ExposeUpstreamTokens    bool `json:"expose_upstream_tokens,omitempty"`
	IdentificationDateLocal bool `json:"identification_date_local,omitempty"`
	WildcardFrameOrigin     bool `json:"wildcard_frame_origin,omitempty"`
	ItsmeBounceURL          bool `json:"itsme_bounce_url,omitempty"`
	AskPersonalNumber       bool `json:"ask_personal_number,omitempty"`
	EchoCustom              bool `json:"echo_custom,omitempty"`
	NoWebhookHMAC           bool `json:"no_webhook_hmac,omitempty"` // then no sealed copy of the keys is kept
}

// Allows says whether the account may use an eID.
func (a *Account) Allows(e eid.EID) bool { return len(a.EIDs) == 0 || slices.Contains(a.EIDs, e) }

// Config finds a configuration. "" is the default one, which always exists: the
// one without an id, else the only one, else an empty one.
func (a *Account) Config(id string) (*Config, error) {
	for i := range a.Configs {
		if a.Configs[i].ID == id {
			return &a.Configs[i], nil
		}
	}
	switch {
	case id != "":
		return nil, ErrUnknown
	case len(a.Configs) == 1:
		return &a.Configs[0], nil
	}
	return &Config{}, nil
}

// Look is the theme of a session: the first of asked that the account has, else
// the account's own.
func (a *Account) Look(asked ...string) string {
	for _, name := range asked {
		if slices.Contains(a.Layouts, name) {
			return name
		}
	}
	return a.Layout
}

// LogValue shows the id only.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.ID) }

// A Key lets a relying party's server call us. Its text is shown once and
// found again by its hash; Sealed accounts keep a copy for the webhook
// signature of the ZignSec API.
type Key struct {
	ID          string
	Account     string
	Environment eid.Environment
	Created     time.Time
	Revoked     time.Time // zero while active
}

// A Caller is a relying party's server that has shown its key.
type Caller struct {
	Account *Account
	Key     Key
}

// A Directory finds callers. Answers are at most 10 s old.
type Directory interface {
	// Caller finds the owner of a key's text; ErrUnknown when there is none.
	Caller(ctx context.Context, key string) (Caller, error)
	// Account finds an account; ErrUnknown when there is none.
	Account(ctx context.Context, id string) (*Account, error)
}

// A Secret never shows itself, not even within a struct that is written as
// JSON. string(s) is the secret.
type Secret string

func (Secret) String() string               { return "[redacted]" }
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
func (Secret) GoString() string             { return "[redacted]" }
func (Secret) LogValue() slog.Value         { return slog.StringValue("[redacted]") }
