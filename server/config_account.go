package server

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"eidgate/eid"
	"eidgate/relying"
)

// sandboxKeyPrefix begins every key of the sandbox, on every computer the
// same; a live server refuses them.
const sandboxKeyPrefix = "5a4db0c5-0000-4000-8000-"

func (k *checker) account(at string, a *AccountConfig, c *Config, seen map[string]string) {
	if !uuidText.MatchString(a.ID) {
		k.doc.Report(at+".id", "%q must be a UUID in lower case; make one once and keep it", a.ID)
	} else if other, twice := seen[a.ID]; twice {
		k.doc.Report(at+".id", "is the id of %s too", other)
	}
	seen[a.ID] = at
	if a.Name == "" {
		k.doc.Report(at+".name", "is required: people read it on every page")
	}
	if len(a.Keys) == 0 {
		k.doc.Report(at+".keys", "needs at least one key")
	}
	count := map[string]int{}
	for i, key := range a.Keys {
		k.key(fmt.Sprintf("%s.keys.%d", at, i), key, seen)
		if count[key.Environment]++; count[key.Environment] == 6 {
			k.doc.Report(at+".keys", "more than 5 keys for %s", key.Environment)
		}
	}
	if count["live"] > 0 && len(a.Hosts) == 0 {
		k.doc.Report(at+".hosts", "is required with live keys: the hosts that people may be sent back to")
	}
	if count["live"] > 0 && c.EIDs == (EIDsConfig{}) {
		k.doc.Warn(at+".keys", "live keys, but no eID is configured under eids")
	}
	for i, e := range a.EIDs {
		if !slices.Contains([]eid.EID{eid.BankIDSE}, eid.EID(e)) {
			k.doc.Report(fmt.Sprintf("%s.eids.%d", at, i), "%q is not an eID that this server has; known: bankidse", e)
		}
	}
	if a.WebhookSecretFile == "" && (a.WebhookTest != "" || a.WebhookLive != "") {
		k.doc.Report(at+".webhook_secret_file", "is required with notifications")
	}
	if a.WebhookSecretFile != "" && k.secret(at+".webhook_secret_file", a.WebhookSecretFile, true) {
		if _, err := readWebhookSecret(a.WebhookSecretFile); err != nil {
			k.doc.Report(at+".webhook_secret_file", "%v", err)
		}
	}
	if a.WebhookEmail != "" && a.WebhookEmail != "thin" && a.WebhookEmail != "full" {
		k.doc.Report(at+".webhook_email", "%q is neither thin nor full", a.WebhookEmail)
	}
	if n := a.Switches.WebhookMaxAttempts; n != 0 && n != 3 && n != 20 {
		k.doc.Report(at+".switches.webhook_max_attempts", "%d is neither 20 nor 3", n)
	}
	if a.Keep != 0 && (a.Keep < 5*time.Minute || a.Keep > 720*time.Hour) {
		k.doc.Report(at+".keep", "%s must be between 5m and 720h", a.Keep)
	}
}

func (k *checker) key(at string, key KeyConfig, seen map[string]string) {
	if key.Environment != "test" && key.Environment != "live" {
		k.doc.Report(at+".environment", "%q is neither test nor live", key.Environment)
	}
	if !k.secret(at+".file", key.File, true) {
		return
	}
	text, err := readKey(key.File)
	switch {
	case err != nil:
		k.doc.Report(at+".file", "%v", err)
	case strings.HasPrefix(text, sandboxKeyPrefix):
		k.doc.Report(at+".file", "holds a key of the sandbox, which everybody knows")
	case seen["key "+text] != "":
		k.doc.Report(at+".file", "holds the same key as %s", seen["key "+text])
	default:
		seen["key "+text] = at
	}
}

func readKey(path string) (string, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	if err != nil {
		return "", err
	}
	text := strings.ToLower(strings.TrimSpace(string(raw)))
	if !uuidText.MatchString(text) {
		return "", errors.New("does not hold a UUID; make one with: uuidgen")
	}
	return text, nil
}

func readWebhookSecret(path string) (relying.Secret, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(raw))
	rest, ok := strings.CutPrefix(text, "whsec_")
	b, err := base64.StdEncoding.DecodeString(rest)
	if !ok || err != nil || len(b) < 24 || len(b) > 64 {
		return "", errors.New(`must be "whsec_" and the base64 of 24 to 64 random bytes: echo "whsec_$(openssl rand -base64 32)"`)
	}
	return relying.Secret(text), nil
}

func readMaster(path string) ([]byte, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // named by the configuration
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(key) != 32 {
		return nil, errors.New("must hold 64 hex digits: openssl rand -hex 32")
	}
	return key, nil
}

// record is the account as the store keeps it.
func (a *AccountConfig) record() (*relying.Account, error) {
	out := &relying.Account{ID: a.ID, Name: a.Name, Language: a.Language, Hosts: a.Hosts, Frames: a.Frames,
		AllowedIPs: a.AllowedIPs, WebhookEmail: a.WebhookEmail, Keep: a.Keep,
		Webhooks: map[eid.Environment]string{}, Switches: relying.Switches{
			DropStateOnSuccess: a.Switches.DropStateOnSuccess, LegacyErrorStatus: a.Switches.LegacyErrorStatus,
			PostMessageJSON: a.Switches.PostMessageJSON, TargetErrorDetails: a.Switches.TargetErrorDetails,
			HMACHexUpper: a.Switches.HMACHexUpper, IdentificationDateLocal: a.Switches.IdentificationDateLocal,
			WildcardFrameOrigin: a.Switches.WildcardFrameOrigin, AskPersonalNumber: a.Switches.AskPersonalNumber,
			EchoCustom: a.Switches.EchoCustom, WebhookMaxAttempts: a.Switches.WebhookMaxAttempts}}
	for _, e := range a.EIDs {
		out.EIDs = append(out.EIDs, eid.EID(e))
	}
	if a.WebhookTest != "" {
		out.Webhooks[eid.Test] = a.WebhookTest
	}
	if a.WebhookLive != "" {
		out.Webhooks[eid.Live] = a.WebhookLive
	}
	if a.WebhookSecretFile != "" {
		var err error
		if out.WebhookSecret, err = readWebhookSecret(a.WebhookSecretFile); err != nil {
			return nil, fmt.Errorf("webhook secret of account %s: %w", a.ID, err)
		}
	}
	return out, nil
}
