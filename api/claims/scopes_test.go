package claims_test

import (
	"slices"
	"strings"
	"testing"

	"eidgate/api/claims"
)

// TestScopesOfEvidence: the evidence of a session is read for those scopes alone that
// tell something of it.
func TestScopesOfEvidence(t *testing.T) {
	t.Parallel()
	for _, s := range claims.Scopes() {
		one := []string{s}
		tells := text(t, claims.For(one, ada(), signicat, proofs(t)...)) != text(t, claims.For(one, ada(), signicat))
		if claims.Proofs(one) != tells {
			t.Errorf("Proofs(%s) = %v, want %v", s, !tells, tells)
		}
	}
	if !claims.Proofs([]string{"openid", "sbid-extra"}) || claims.Proofs(nil) {
		t.Error("one of several is not found, or none is")
	}
}

func TestReleasing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ names, allowed, want string }{
		{"name birthdate", "openid profile date-of-birth nin", "profile date-of-birth"},
		{"name family_name", "openid profile", "profile"},
		{"birthdate", "openid profile", "profile"}, // that of iDIN stays untold
		{"nin", "openid profile", ""},
		{"sbid_xml_signature", "openid sbid-evidence", "sbid-evidence"},
		{"sub acr nosuch", "openid profile", ""},
		{"", "openid profile", ""},
	} {
		if got := claims.Releasing(strings.Fields(c.names), strings.Fields(c.allowed)); !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("Releasing(%q, %q) = %q, want %q", c.names, c.allowed, got, c.want)
		}
	}
	for _, name := range claims.Names() {
		if len(claims.Releasing([]string{name}, claims.Scopes())) != 1 {
			t.Errorf("no scope releases %s", name)
		}
	}
}
