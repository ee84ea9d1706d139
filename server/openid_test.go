package server

import (
	"os"
	"path/filepath"
	"testing"

	"eidgate/eid"
)

// TestContractsAreKeptApart: two contracts of one client differ in what they
// may take, so their settings have different keys: clients are built by them.
func TestContractsAreKeptApart(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	add := func(name string, a agreement, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := keys[name[:5]+a.now.Key]; ok {
			t.Errorf("%s is taken for %s", name, other)
		}
		keys[name[:5]+a.now.Key] = name
		if !a.renews {
			t.Errorf("%s: orders do not survive a renewed secret", name)
		}
	}
	for _, level := range []string{"substantial", "high"} {
		for _, scopes := range [][]string{nil, {}, {"profile", "nnin_altsub"}} {
			a, err := (&BankIDNOConfig{Issuer: "https://i.example", ClientID: "c", ClientSecretFile: secret, Level: level, Scopes: scopes}).agreement(eid.Live)
			add("BankID "+level, a, err)
		}
		for _, scopes := range [][]string{nil, {}, {"ssn"}} {
			a, err := (&MitIDConfig{Issuer: "https://i.example", ClientID: "c", ClientSecretFile: secret, Level: level, Scopes: scopes}).agreement(eid.Live)
			add("MitID "+level, a, err)
		}
	}
}
