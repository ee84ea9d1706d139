package openid

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"eidgate/internal/oidcrp"
)

func TestStatesAreReadAsWritten(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for name, want := range map[string]state{
		"begun":    {Login: &oidcrp.Login{State: "s"}, URL: "https://op.example/authorize", Until: at},
		"answered": {Login: &oidcrp.Login{State: "s"}, Answer: []byte("{\n\"id_token\":\"a.b.c\"\n}\n"), Got: at, Foreign: true},
		"asks":     {Login: &oidcrp.Login{State: "line\nfeed"}, Answer: []byte{0xff, 0}, Asks: true},
	} {
		got, err := readState(want.bytes())
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
	for _, raw := range []string{"", "{}", `{"login":null}`, "\n{}", `{"login":{}`, `{"login":{}} {}`} {
		if _, err := readState([]byte(raw)); err == nil || strings.Contains(err.Error(), "login\":") {
			t.Errorf("%q: %v", raw, err)
		}
	}
}
