package idin_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"eidgate/protocol/idin"
)

// TestCheck: each wrong setting is found, all of them at once.
func TestCheck(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	short := certify(weak(t), "weak", year2028, year2031)
	hash := strings.Repeat("0a", 32)
	for name, v := range map[string]struct {
		alter func(*idin.Merchant)
		wrong int
	}{
		"good":                 {func(*idin.Merchant) {}, 0},
		"everything":           {func(m *idin.Merchant) { *m = idin.Merchant{ID: "x", SubID: -1, Skew: time.Hour} }, 9},
		"merchantID":           {func(m *idin.Merchant) { m.ID = "123400000" }, 1},
		"subID":                {func(m *idin.Merchant) { m.SubID = 1_000_000 }, 1},
		"largest subID":        {func(m *idin.Merchant) { m.SubID = 999_999 }, 0},
		"skew":                 {func(m *idin.Merchant) { m.Skew = -time.Second }, 1},
		"http":                 {func(m *idin.Merchant) { m.StatusURL = "http://rs.example/" }, 1},
		"http allowed":         {func(m *idin.Merchant) { m.StatusURL, m.AllowHTTP = "http://rs.example/", true }, 0},
		"file":                 {func(m *idin.Merchant) { m.StatusURL, m.AllowHTTP = "file:///rs", true }, 1},
		"no host":              {func(m *idin.Merchant) { m.DirectoryURL = "https:///" }, 1},
		"no key":               {func(m *idin.Merchant) { m.Key = nil }, 1},
		"no certificate":       {func(m *idin.Merchant) { m.Certificate = nil }, 1},
		"another key":          {func(m *idin.Merchant) { m.Key = stranger().key }, 1},
		"curve":                {func(m *idin.Merchant) { m.Key = ec }, 1},
		"weak":                 {func(m *idin.Merchant) { m.Key, m.Certificate = short.key, short.cert }, 1},
		"nothing to decrypt":   {func(m *idin.Merchant) { m.Decryption = nil }, 1},
		"nil to decrypt":       {func(m *idin.Merchant) { m.Decryption = append(m.Decryption, nil) }, 1},
		"weak to decrypt":      {func(m *idin.Merchant) { m.Decryption = []crypto.Decrypter{short.key} }, 1},
		"no routing":           {func(m *idin.Merchant) { m.Routing = nil }, 1},
		"weak routing":         {func(m *idin.Merchant) { m.Routing = []*x509.Certificate{rs().cert, short.cert, nil} }, 2},
		"pins":                 {func(m *idin.Merchant) { m.Pins = map[string][]string{"BANKNL2Y": {hash, strings.ToUpper(hash)}} }, 0},
		"pin for no bank":      {func(m *idin.Merchant) { m.Pins = map[string][]string{"bank": {hash}} }, 1},
		"pin of another hash":  {func(m *idin.Merchant) { m.Pins = map[string][]string{"BANKNL2Y": {hash[2:], "x"}} }, 2},
		"aliases":              {func(m *idin.Merchant) { m.Aliases = map[string][]string{"BANKNL2Y": {"CURRNL2A"}} }, 0},
		"alias for no bank":    {func(m *idin.Merchant) { m.Aliases = map[string][]string{"bank": {"CURRNL2A"}} }, 1},
		"alias that is no BIC": {func(m *idin.Merchant) { m.Aliases = map[string][]string{"BANKNL2Y": {"bank"}} }, 1},
	} {
		m := merchant()
		v.alter(m)
		err := m.Check()
		got := 0
		if err != nil {
			got = 1 + strings.Count(err.Error(), "\n")
		}
		if got != v.wrong {
			t.Errorf("%s: %d wrong, want %d: %v", name, got, v.wrong, err)
		}
	}
}

func weak(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestServiceID(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		id     idin.ServiceID
		groups []idin.ServiceID
		valid  bool
		text   string
	}{
		{0, nil, true, "0"},
		{64, []idin.ServiceID{idin.Adult}, true, "64 adult"},
		{16448, []idin.ServiceID{idin.BIN, idin.Adult}, true, "16448 bin+adult"},
		{448, []idin.ServiceID{idin.Birth}, true, "448 birth"},
		{20480, []idin.ServiceID{idin.BIN, idin.Name}, true, "20480 bin+name"},
		{21968, []idin.ServiceID{idin.BIN, idin.Name, idin.Address, idin.Birth, idin.Gender}, true, "21968 bin+name+address+birth+gender"},
		{21974, []idin.ServiceID{idin.BIN, idin.Name, idin.Address, idin.Birth, idin.Gender, idin.Phone, idin.Mail}, true,
			"21974 bin+name+address+birth+gender+phone+mail"},
		{16392, []idin.ServiceID{idin.BIN, idin.Sign}, true, "16392 bin+sign"},
		{8, []idin.ServiceID{idin.Sign}, false, "8 sign"},
		{1, nil, false, "1"},
		{32, nil, false, "32"},
		{128, nil, false, "128"},
		{192, nil, false, "192"},
		{256, nil, false, "256"},
		{320, nil, false, "320"},
		{512, nil, false, "512"},
		{2048, nil, false, "2048"},
		{8192, nil, false, "8192"},
		{32768, nil, false, "32768"},
	} {
		if got := v.id.Groups(); !slices.Equal(got, v.groups) {
			t.Errorf("%d holds %v, want %v", uint16(v.id), got, v.groups)
		}
		if v.id.Valid() != v.valid || v.id.String() != v.text {
			t.Errorf("%d: valid %v, %q", uint16(v.id), v.id.Valid(), v.id)
		}
	}
	for _, v := range []struct {
		id, want idin.ServiceID
		has      bool
	}{
		{20480, idin.BIN, true}, {20480, idin.BIN | idin.Name, true}, {20480, idin.Address, false},
		{448, idin.Adult, false}, {64, idin.Birth, false}, {0, 0, true},
	} {
		if got := v.id.Has(v.want); got != v.has {
			t.Errorf("%v has %v: %v", v.id, v.want, got)
		}
	}
}

// TestNothingPersonalInLogs gives every type that knows a person or a secret
// to both handlers and to fmt: by value, by pointer, and inside an error.
func TestNothingPersonalInLogs(t *testing.T) {
	t.Parallel()
	adult := true
	canaries := []string{"NLBANK0001", "Vries", "c0ffee", "1234000000000042", us().key.D.String()[:30]}
	status, err := merchant().ReadStatus(success().raw(t), want, now)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"merchant":    *merchant(),
		"transaction": idin.Transaction{EntranceCode: "c0ffee", ReturnURL: "https://x/c0ffee", Reference: "c0ffee", DocumentID: "c0ffee"},
		"started":     idin.Started{TransactionID: "1234000000000042", URL: "https://bank.example/c0ffee"},
		"expected":    idin.Expected{TransactionID: "1234000000000042", Reference: "c0ffee"},
		"status":      *status,
		"person":      idin.Person{BIN: "NLBANK0001", LegalLastName: "Vries", Adult: &adult, Other: map[string]string{"x": "c0ffee"}, DocumentID: "c0ffee"},
		"error": idin.Error{Code: "AP3000", Message: "for c0ffee", Detail: "c0ffee", Action: "c0ffee", Consumer: "c0ffee",
			SAML: idin.SAMLStatus{First: "Requester", Message: "c0ffee"}},
		"saml": idin.SAMLStatus{First: "not c0ffee", Second: "c0ffee, neither", Message: "c0ffee"},
	} {
		var out bytes.Buffer
		pointer := pointerTo(v)
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			log := slog.New(h)
			for _, x := range []any{v, pointer, fmt.Errorf("wrapped: %v and %+v", v, pointer), errors.Join(fmt.Errorf("%s", v))} {
				log.InfoContext(context.Background(), "canary", "value", x)
			}
		}
		for _, c := range canaries {
			if strings.Contains(out.String(), c) {
				t.Errorf("%s: %q is in the log:\n%s", name, c, &out)
				break
			}
		}
	}
	if !strings.Contains(status.String(), "Success") {
		t.Errorf("a status says no more: %v", status)
	}
}

// pointerTo is a pointer to a copy of v, of v's own type.
func pointerTo(v any) any {
	p := reflect.New(reflect.TypeOf(v))
	p.Elem().Set(reflect.ValueOf(v))
	return p.Interface()
}
