package store_test

import (
	"testing"

	"eidgate/store"
)

func TestUnverified(t *testing.T) { // reads the environment as the driver does
	for _, name := range []string{"PGHOST", "PGSSLMODE", "PGSSLROOTCERT"} {
		t.Setenv(name, "")
	}
	for address, want := range map[string]string{
		"sqlite:x.db":                                 "",
		"postgres://u@db/x":                           "db", // plain where the server offers nothing else
		"postgres://u@db/x?sslmode=disable":           "db",
		"postgres://u@db/x?sslmode=require":           "db", // TLS with whoever answers
		"postgres://u@db/x?sslmode=verify-ca":         "",
		"postgres://u@db/x?sslmode=verify-full":       "",
		"postgresql://u@10.0.0.7:5433/x":              "10.0.0.7",
		"postgres://u@localhost/x":                    "",
		"postgres://u@127.0.0.1/x":                    "",
		"postgres://u@[::1]/x":                        "",
		"postgres://u@/x?host=/run/postgresql":        "",
		"postgres://u@/x?host=db2&sslmode=disable":    "db2",
		"postgres://u@/x?host=/run/postgresql,db2":    "db2",
		"postgres://u@db/x?sslmode=what-there-is-not": "",
	} {
		if got := store.Unverified(address); got != want {
			t.Errorf("Unverified(%q) = %q, want %q", address, got, want)
		}
	}
}
