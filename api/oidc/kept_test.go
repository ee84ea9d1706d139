package oidc_test

import (
	"context"
	"strings"
	"testing"

	"eidgate/api/oidc"
	"eidgate/broker"
)

// keeping remembers what was to be kept with a code.
type keeping struct {
	oidc.Store
	body string
}

func (k *keeping) PutGrant(ctx context.Context, g *oidc.Grant, pushed *[32]byte, sso *oidc.SSO, read broker.Audit) (bool, error) {
	k.body = string(g.Body)
	return k.Store.PutGrant(ctx, g, pushed, sso, read)
}

// TestKept: once there is a code, nothing stays of the request that no token
// depends on. A hint may be somebody's number or address.
func TestKept(t *testing.T) {
	t.Parallel()
	store := &keeping{}
	w := newWorld(t, func(c *oidc.Config) { store.Store, c.Store = c.Store, store })
	w.tokens(w.client(), w.visitor(), "login_hint", "hint-of-a-person", "state", "state-of-the-client", "nonce", "nonce-of-the-client")
	if !strings.Contains(store.body, "nonce-of-the-client") {
		t.Errorf("the nonce is not kept: %s", store.body)
	}
	for _, word := range []string{"hint-of-a-person", "state-of-the-client", "login_hint"} {
		if strings.Contains(store.body, word) {
			t.Errorf("%s is kept: %s", word, store.body)
		}
	}
}
