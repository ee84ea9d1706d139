package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"eidgate/sandbox"
	"eidgate/test/rig"
)

// TestIgnoredKeysAreCounted: the provider's count is one of the node's metrics.
func TestIgnoredKeysAreCounted(t *testing.T) {
	t.Parallel()
	sys := rig.New(t, "sqlite:"+t.TempDir()+"/e.db", sandbox.Approve)
	p := rig.NewParty(t)
	node := sys.Serve(t)
	p.Route(node)
	if _, err := p.Authorize(t.Context(), "idp:sbid nosuch:1"); err != nil {
		t.Fatal(err)
	}
	if _, _, text := visit(t, http.DefaultClient, node.Ops+"/metrics"); !strings.Contains(text, "\neidgate_acr_values_ignored_total{kind=\"unknown\"} 1\n") {
		t.Error("no key was counted")
	}
}

// TestMovingHere: a person logs in under the name that the exported key makes,
// and under the one from before as soon as the party has brought it along.
func TestMovingHere(t *testing.T) {
	t.Parallel()
	sys := rig.New(t, "sqlite:"+t.TempDir()+"/e.db", sandbox.Approve)
	key, err := hex.DecodeString(strings.TrimSpace(sys.Run(t, "", "subject", "key")))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("v1|" + rig.Account + "|sbid|" + rig.Person))
	computed := base64.URLEncoding.EncodeToString(mac.Sum(nil))
	p := rig.NewParty(t)
	node := sys.Serve(t)
	p.Route(node)
	if got := login(t, p); got != computed {
		t.Errorf("before: sub is %q, want %q", got, computed)
	}
	node.Kill() // a file of SQLite belongs to one process
	list := "idp,person,sub\nsbid," + rig.Person[:8] + "-" + rig.Person[8:] + ",ada-before\nidin," + rig.Person + ",bank-before\n"
	if got := sys.Run(t, list, "subject", "import", "--account", rig.Account, "-"); got != "2 written, 0 stored already\n" {
		t.Errorf("import: %q", got)
	}
	p.Route(sys.Serve(t))
	if got := login(t, p); got != "ada-before" {
		t.Errorf("after: sub is %q, want ada-before", got)
	}
}

// login logs the rig's person in with Swedish BankID, and is their sub.
func login(t *testing.T, p *rig.Party) (sub string) {
	t.Helper()
	v, err := p.Authorize(t.Context(), "idp:sbid")
	if err == nil {
		err = v.Begin(t.Context())
	}
	for to := ""; err == nil && to == ""; {
		select {
		case <-time.After(200 * time.Millisecond): // as the page does, only more often
		case <-t.Context().Done():
			t.Fatal("the login does not end")
		}
		if to, err = v.Poll(t.Context()); err == nil && to != "" {
			sub, err = redeem(t, p, to)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// redeem is the sub of the ID token; that of UserInfo must be the same.
func redeem(t *testing.T, p *rig.Party, to string) (string, error) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		return "", err
	}
	tokens, err := p.Redeem(t.Context(), u.Query().Get("code"))
	if err != nil {
		return "", err
	}
	sub, err := p.Subject(t.Context(), tokens.Access)
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(tokens.ID, ".")
	body, _, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return "", err
	}
	var told struct{ Sub string }
	if err := json.Unmarshal(raw, &told); err != nil || told.Sub != sub {
		t.Errorf("ID token is about %q, UserInfo about %q, %v", told.Sub, sub, err)
	}
	return told.Sub, nil
}
