package server

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"eidgate/connector"
	cidin "eidgate/connector/idin"
	"eidgate/connector/idinage"
	"eidgate/eid"
	"eidgate/internal/keytest"
)

// soundIDIN is a configuration without problems; the corpus below spoils it.
const soundIDIN = `server:
  public_url: https://eid.example.com
  page_rate: 0
store: {url: "sqlite:DIR/x.db"}
keys: {master_file: DIR/master}
test_eids: {CONTRACT}, idin_age: {backend: idin}}
accounts:
  - id: 7c1f6a0e-0000-4000-8000-000000000001
    name: Shop
    keys: [{environment: test, file: DIR/key}]
`

// A pair is a certificate and its key, both in PEM.
func pair(t *testing.T, bits int, ends time.Time) (cert, key string) {
	t.Helper()
	var private crypto.Signer = keytest.Curve(t, elliptic.P256())
	if bits > 0 {
		private = keytest.RSA(t, bits)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: ends.AddDate(-5, 0, 0), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), keytest.PEM(t, private)
}

// TestConfigurationCorpusIDIN spoils a sound file in one place and holds what
// is said of it; nothing else may be.
func TestConfigurationCorpusIDIN(t *testing.T) {
	t.Parallel()
	s := newHouse(t)
	s.withIDIN(t)
	later := time.Now().AddDate(2, 0, 0)
	ecCert, ecKey := pair(t, 0, later)
	s.write(t, "ec.pem", ecCert+ecKey)
	soon := time.Now().Add(9*24*time.Hour + time.Hour)
	soonCert, soonKey := pair(t, 2048, soon)
	s.write(t, "soon.pem", soonCert+soonKey)
	past := time.Now().Add(-24 * time.Hour)
	pastCert, pastKey := pair(t, 2048, past)
	s.write(t, "past.pem", pastCert+pastKey)
	s.write(t, "data-and-key", pastKey)
	s.write(t, "two-lines", "one\ntwo\n")
	const (
		at    = "test_eids.idin"
		whole = "test_eids: {CONTRACT}, idin_age: {backend: idin}}"
		qr    = "{merchant_token: 6f8a1c52-3d1e-4b0a-9c77-0e5d2f1b8a34, secret_signing_key_file: DIR/qr-secret, qr_backend_url: \"http://localhost/qr\"}"
	)
	more := func(keys string) string { return "test_eids: {CONTRACT, " + keys + "}, idin_age: {backend: idin}}" }
	for _, c := range []struct {
		name, old, with string
		want            []string
	}{
		{"sound", "", "", nil},
		{"everything", whole, more(`sub_id: 7, legal_id: NL99ZZZ1, transaction_url: "https://a.example/t", status_url: "https://a.example/s", decryption: [DIR/idin-data.pem, DIR/data-and-key],
  previous: {certificate: DIR/past.pem}, pins: {RABONL2U: [` + strings.Repeat("5a", 32) + `]}, aliases: {RABONL2U: [ASNBNL21]}, services: 21974, incomplete: fail, expiration: 2m, skew: 1s,
  status_retry_after_return: true, status_at_three_minutes: true, qr: ` + qr), nil},
		{"nothing", whole, "test_eids: {idin: {}}", []string{
			at + `.merchant_id: "" must be 10 digits: 4 of the acquirer and 6 of yours; write it with quotes`,
			at + ".directory_url: is required: the address of the routing service, from your acquirer",
			at + ".certificate: is required: the certificate that your acquirer knows, as PKCS#12, or PEM with its key",
			at + ".routing: is required: the routing service's certificate, from your acquirer's portal"}},
		{"short number", s.acme, "123", []string{at + `.merchant_id: "123" must be 10 digits: 4 of the acquirer and 6 of yours; write it with quotes`}},
		{"sub id", whole, more("sub_id: 1000000"), []string{at + ".sub_id: 1000000 must be between 0 and 999999"}},
		{"an address that is none", s.routes, "routing.example", []string{at + ".directory_url: must be an https address of at most 512 characters, without a user name"}},
		{"an address with a user", whole, more(`status_url: "https://me:secret@a.example/"`), []string{at + ".status_url: must be an https address of at most 512 characters, without a user name"}},
		{"a key that is not RSA", "DIR/idin.pem", "DIR/ec.pem", []string{at + ".certificate: iDIN takes RSA keys of 2048 bits or more: make a new pair"}},
		{"a certificate without its key", "DIR/idin.pem", "DIR/idin-routing.pem", []string{at + ".certificate: the certificate and its key do not fit, or the key is missing"}},
		{"a certificate that ends soon", "DIR/idin.pem", "DIR/soon.pem", []string{at + ".certificate: expires in 9 days (" + soon.UTC().Format(time.DateOnly) + ")  [warning]"}},
		{"a certificate that has ended", "DIR/idin.pem", "DIR/past.pem", []string{at + ".certificate: expired on " + past.UTC().Format(time.DateOnly)}},
		{"one before that has ended", whole, more("previous: {certificate: DIR/past.pem}"), nil},
		{"one before that is none", whole, more("previous: {certificate: DIR/ec.pem}"), []string{at + ".previous.certificate: iDIN takes RSA keys of 2048 bits or more: make a new pair"}},
		{"decryption keys", whole, more("decryption: [DIR/none, DIR/idin-routing.pem, DIR/master, DIR/ec.pem]"), []string{
			at + ".decryption.0: DIR/none cannot be read: no such file or directory",
			at + ".decryption.1: must hold an RSA key of 2048 bits or more, as PKCS#8 or PKCS#1: keys that decrypt are RSA", at + ".decryption.2: holds no key in PEM",
			at + ".decryption.3: must hold an RSA key of 2048 bits or more, as PKCS#8 or PKCS#1: keys that decrypt are RSA"}},
		{"no routing service", "DIR/idin-routing.pem, DIR/idin-next.pem", "DIR/none, DIR/master", []string{
			at + ".routing.0: DIR/none cannot be read: no such file or directory", at + ".routing.1: holds no certificate in PEM"}},
		{"a routing service that has ended", "DIR/idin-routing.pem, DIR/idin-next.pem", "DIR/past.pem", []string{
			at + ".routing: expired on " + past.UTC().Format(time.DateOnly) + ": get the next certificate from your acquirer's portal and name it too  [warning]"}},
		{"one that ends soon", "DIR/idin-routing.pem, DIR/idin-next.pem", "DIR/past.pem, DIR/soon.pem", []string{
			at + ".routing: expires in 9 days (" + soon.UTC().Format(time.DateOnly) + "): get the next certificate from your acquirer's portal and name it too  [warning]"}},
		{"pins", whole, more("pins: {RABO: [5a5a], INGBNL2A: [" + strings.Repeat("zz", 32) + "]}"), []string{
			at + ".pins.RABO: is no BIC",
			at + ".pins.INGBNL2A.0: must be 64 hex digits: openssl x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum",
			at + ".pins.RABO.0: must be 64 hex digits: openssl x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum"}},
		{"aliases", whole, more("aliases: {RABONL2U: [asn], x: []}"), []string{at + `.aliases.RABONL2U.0: "asn" is no BIC`, at + ".aliases.x: is no BIC"}},
		{"services", whole, more("services: 1"), []string{at + ".services: 1 is no sum of what iDIN offers: 16384 id, 4096 name, 1024 address, 448 birth date or 64 for 18 or older, 16 gender, 4 telephone, 2 e-mail"}},
		{"too many services", whole, more("services: 65536"), []string{at + ".services: 65536 is no sum of what iDIN offers: 16384 id, 4096 name, 1024 address, 448 birth date or 64 for 18 or older, 16 gender, 4 telephone, 2 e-mail"}},
		{"words and times", whole, more("incomplete: maybe, expiration: 6m, skew: 1h"), []string{at + `.incomplete: "maybe" is neither deliver nor fail`,
			at + ".expiration: 6m0s must be whole seconds between 1m and 5m", at + ".skew: 1h0m0s must be between 0s and 5m"}},
		{"QR, nothing", whole, more("qr: {}"), []string{at + ".qr.merchant_token: must be the GUID that the QR service calls Merchant token",
			at + ".qr.qr_backend_url: is required in test_eids: the default is the service for live keys", at + ".qr.secret_signing_key_file: is required"}},
		{"QR, an encoding", whole, more("qr: " + strings.Replace(qr, "}", ", secret_encoding: rot13}", 1)), []string{at + `.qr.secret_encoding: "rot13" is none of utf8, hex, base64`}},
		{"QR, another encoding", whole, more("qr: " + strings.NewReplacer("}", ", secret_encoding: hex}", "qr-secret", "age-key").Replace(qr)), []string{at + ".qr.secret_signing_key_file: iDIN QR key: the text is not hex"}},
		{"QR, two lines", whole, more("qr: " + strings.Replace(qr, "qr-secret", "two-lines", 1)), []string{at + ".qr.secret_signing_key_file: must hold one line"}},
		{"a simulator for live", "test_eids:", "eids:", []string{at[5:] + ".directory_url: is on this machine, as simulators are: live keys use the routing service itself",
			"accounts.0.keys: test keys, but no eID is configured under test_eids  [warning]"}},
		{"http for live", "test_eids: {CONTRACT}", "eids: {" + strings.Replace(s.fill("CONTRACT"), s.routes, "http://routing.example", 1) + "}", []string{at[5:] + ".directory_url: must be https",
			"accounts.0.keys: test keys, but no eID is configured under test_eids  [warning]"}},
		{"an age check by nobody", "{backend: idin}", "{}", []string{`test_eids.idin_age.backend: "" is neither idin nor agechecked`}},
		{"an age check over nothing", whole, "test_eids: {idin_age: {backend: idin}}", []string{
			"test_eids.idin_age.backend: idin needs a contract: configure idin beside it, or use agechecked"}},
		{"two backends", "{backend: idin}", "{backend: idin, agechecked: {}}", []string{"test_eids.idin_age.agechecked: is for the backend agechecked: remove it, or change backend"}},
		{"AgeChecked, nothing", whole, "test_eids: {idin_age: {backend: agechecked}}", []string{"test_eids.idin_age.agechecked: is required: your agreement with AgeChecked"}},
		{"AgeChecked, no key", whole, "test_eids: {idin_age: {backend: agechecked, agechecked: {}}}", []string{"test_eids.idin_age.agechecked.key_file: is required"}},
		{"AgeChecked, its test system", whole, "test_eids: {idin_age: {backend: agechecked, agechecked: {key_file: DIR/age-key}}}", nil},
		{"AgeChecked, a simulator", whole, "test_eids: {idin_age: {backend: agechecked, agechecked: {key_file: DIR/age-key, url: \"http://localhost:1/age\", method: ac0140, url_field: u, return_field: r}}}", nil},
		{"AgeChecked, a simulator for live", whole, "eids: {idin_age: {backend: agechecked, agechecked: {key_file: DIR/age-key, url: \"http://localhost:1/age\"}}}", []string{
			"eids.idin_age.agechecked.url: is only for test_eids: live keys use AgeChecked itself", "accounts.0.keys: test keys, but no eID is configured under test_eids  [warning]"}},
		{"AgeChecked, a field of no name", whole, "test_eids: {idin_age: {backend: agechecked, agechecked: {key_file: DIR/two-lines}}}", []string{
			"test_eids.idin_age.agechecked.key_file: must hold one line"}},
		{"a counter of its own", "file: DIR/key}]\n", "file: DIR/key}]\n    configs: [{id: counter, test_eids: {CONTRACT, qr: " + qr + "}}}, {id: web}]\n", nil},
		{"an age check of its own", whole, "test_eids: {CONTRACT}}", nil},
		{"its own contract for both", "file: DIR/key}]\n", "file: DIR/key}]\n    configs: [{id: web, test_eids: {CONTRACT}, idin_age: {backend: idin}}}]\n", nil},
	} {
		text := s.fill(soundIDIN)
		if c.old != "" {
			old := s.fill(c.old)
			if strings.Count(text, old) == 0 {
				t.Errorf("%s: there is no %q", c.name, old)
			}
			text = strings.Replace(text, old, s.fill(c.with), 1)
		}
		if got := problems(t, s, text); cmp.Diff(c.want, got, sorted) != "" {
			t.Errorf("%s:\n%s", c.name, cmp.Diff(c.want, got, sorted))
		}
	}
}

// sorted compares lists of problems whose order is not the point.
var sorted = cmp.Transformer("sorted", func(in []string) string { return strings.Join(slices.Sorted(slices.Values(in)), "\n") })

// A configuration that lacks the one eID finds it named, and that eID alone.
func TestEachEIDFindsAnAgreement(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	s.withIDIN(t)
	text := strings.Replace(soundIDIN, "test_eids: {CONTRACT}, idin_age: {backend: idin}}", "test_eids: {BANKID(house)}", 1) +
		"    configs: [{id: a, test_eids: {CONTRACT}}}, {id: b, test_eids: {idin_age: {backend: agechecked, agechecked: {key_file: DIR/age-key}}}}]\n"
	want := []string{
		"accounts.0.configs: test_eids has no idin, so each of these, and one of them without an id, needs its own",
		"accounts.0.configs: test_eids has no idin_age, so each of these, and one of them without an id, needs its own"}
	if got := problems(t, s, s.fill(text)); cmp.Diff(want, got) != "" {
		t.Error(cmp.Diff(want, got))
	}
}

func TestSummaryNamesEIDs(t *testing.T) {
	t.Parallel()
	s := newHouse(t, "house")
	s.withIDIN(t)
	c := s.config(t, strings.Replace(soundIDIN, "test_eids: {", "test_eids: {BANKID(house), ", 1))
	if got, want := c.Summary(), "test_eids bankid_se, idin, idin_age"; got[len(got)-1] != want {
		t.Errorf("summary ends in %q, want %q", got[len(got)-1], want)
	}
}

// read takes settings apart again.
func read[T any](t *testing.T, s connector.Settings) (out T) {
	t.Helper()
	if err := json.Unmarshal(s.Data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRenewedContract holds that transactions which were begun before a renewal
// find the settings of then under the key of then, and that both keys decrypt.
func TestRenewedContract(t *testing.T) {
	t.Parallel()
	s := newHouse(t)
	s.withIDIN(t)
	newCert, newKey := pair(t, 2048, time.Now().AddDate(5, 0, 0))
	s.write(t, "new.pem", newCert+newKey)
	s.write(t, "new.key", newKey)
	renewed := strings.NewReplacer("CONTRACT", "idin: "+strings.NewReplacer("idin: ", "", "idin.pem", "new.pem").Replace(s.fill("CONTRACT")))
	for name, c := range map[string]struct{ before, after string }{
		"the certificate's own key": {"CONTRACT", renewed.Replace("CONTRACT, previous: {certificate: DIR/idin.pem}")},
		"a key of its own": {"CONTRACT, decryption: [DIR/idin-data.pem]",
			renewed.Replace("CONTRACT, previous: {certificate: DIR/idin.pem}, decryption: [DIR/idin-data.pem]")},
		"both": {"CONTRACT, decryption: [DIR/idin-data.pem]",
			renewed.Replace("CONTRACT, previous: {certificate: DIR/idin.pem}, decryption: [DIR/new.key, DIR/idin-data.pem]")},
		"the key alone": {"CONTRACT, decryption: [DIR/idin-data.pem]", "CONTRACT, decryption: [DIR/new.key, DIR/idin-data.pem]"},
	} {
		all := func(idin string) agreements {
			t.Helper()
			a, err := s.config(t, strings.Replace(soundIDIN, "CONTRACT", idin, 1)).agreements()
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		then, today := all(c.before), all(c.after)
		for _, e := range []eid.EID{eid.IDIN, eid.IDINAge} {
			h := holder{env: eid.Test, eid: e}
			key, a := then[h].now.Key, today[h]
			i := slices.IndexFunc(a.before, func(s connector.Settings) bool { return s.Key == key })
			if key == a.now.Key || i < 0 {
				t.Errorf("%s, %s: the settings of before are not found", name, e)
				continue
			}
			of := func(s connector.Settings) cidin.Settings {
				if e == eid.IDINAge {
					return *read[idinage.Settings](t, s).IDIN
				}
				return read[cidin.Settings](t, s)
			}
			old, now, first := of(a.before[i]), of(a.now), of(then[h].now)
			if old.Certificate != first.Certificate || cmp.Diff(old.Decryption, now.Decryption) != "" {
				t.Errorf("%s, %s: another certificate than before, or other keys than today", name, e)
			}
			if name == "the certificate's own key" && !slices.Equal(now.Decryption, []string{now.Key, old.Key}) {
				t.Errorf("%s, %s: %d keys decrypt, want both certificates'", name, e, len(now.Decryption))
			}
			if err := old.Check(); err != nil {
				t.Errorf("%s, %s: %v", name, e, err)
			}
		}
	}
}

// TestAgeOverAContract holds which contract an age check uses, and that it
// shows no code.
func TestAgeOverAContract(t *testing.T) {
	t.Parallel()
	s := newHouse(t)
	s.withIDIN(t)
	const qr = ", qr: {merchant_token: 6f8a1c52-3d1e-4b0a-9c77-0e5d2f1b8a34, secret_signing_key_file: DIR/qr-secret, qr_backend_url: \"http://localhost/qr\"}"
	a, err := s.config(t, strings.Replace(soundIDIN, "CONTRACT", "CONTRACT"+qr, 1)+`    configs:
      - {id: own, test_eids: {CONTRACT, sub_id: 7}, idin_age: {backend: idin}}}
      - {id: server, test_eids: {idin_age: {backend: idin}}}
      - {id: other, test_eids: {idin_age: {backend: agechecked, agechecked: {key_file: DIR/age-key, return_field: r}}}}
      - {id: none}
`).agreements()
	if err != nil {
		t.Fatal(err)
	}
	for config, sub := range map[string]int{"own": 7, "server": 0, "none": 0} {
		found, ok := a.find(eid.Test, eid.IDINAge, testAccount, config)
		set := read[idinage.Settings](t, found.now)
		if !ok || set.IDIN == nil || set.AgeChecked != nil || set.IDIN.SubID != sub || set.IDIN.QR != nil || set.IDIN.MerchantID != s.acme || !set.IDIN.AllowHTTP {
			t.Errorf("%s: %v, sub id %d", config, ok, set.IDIN.SubID)
		}
	}
	found, _ := a.find(eid.Test, eid.IDINAge, testAccount, "other")
	want := idinage.Settings{AgeChecked: &idinage.AgeChecked{Base: "https://staging.agechecked.com/api", Key: "a key of AgeChecked", Return: "r"}}
	if diff := cmp.Diff(want, read[idinage.Settings](t, found.now)); diff != "" {
		t.Error(diff)
	}
	if idin, _ := a.find(eid.Test, eid.IDIN, testAccount, "none"); read[cidin.Settings](t, idin.now).QR == nil {
		t.Error("the contract itself has lost its code")
	}
	// Each agreement once, in an order that does not change: the server's and
	// "server" share their age check.
	all := a.contracts()
	if len(all) != 5 || cmp.Diff(all, a.contracts()) != "" {
		t.Errorf("%d contracts", len(all))
	}
}

// TestBanksAreShown asks a server for its banks, over its public listener.
func TestBanksAreShown(t *testing.T) {
	t.Parallel()
	s := newHouse(t)
	s.withIDIN(t)
	node := s.core(t, strings.Replace(soundIDIN, "x.db", "banks.db", 1))
	defer func() { _ = node.store.Close() }() // the test is over
	get := func(c *core, header ...string) *http.Response {
		r := httptest.NewRequest("GET", "https://eid.example.com/broker/authn/idin/issuers", nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		rec := httptest.NewRecorder()
		c.handler.ServeHTTP(rec, r)
		return rec.Result()
	}
	res := get(node)
	raw, err := io.ReadAll(res.Body)
	var list []struct {
		Country string
		Issuers []struct{ Name, ID string }
	}
	if err != nil || res.StatusCode != 200 || json.Unmarshal(raw, &list) != nil || len(list) == 0 || len(list[0].Issuers) == 0 {
		t.Fatalf("%d %s, %v", res.StatusCode, raw, err)
	}
	if h := res.Header; h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Cache-Control") != "public, max-age=3600" {
		t.Errorf("headers %v", h)
	}
	if res := get(node, "If-None-Match", res.Header.Get("ETag")); res.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged: %d", res.StatusCode)
	}
	for _, use := range []string{"rp", "routing"} {
		line := `eidgate_certificate_expiry_timestamp_seconds{account="",config="",eid="idin",environment="test",use="` + use + `"}`
		if got := scrape(t, node.metrics, line); !strings.HasSuffix(got, "e+09") {
			t.Errorf("%s = %q", line, got)
		}
	}
	without := newHouse(t, "house")
	bare := without.core(t, strings.Replace(sound, "x.db", "bare.db", 1))
	defer func() { _ = bare.store.Close() }() // as above
	if res := get(bare); res.StatusCode != http.StatusNotFound {
		t.Errorf("without iDIN: %d", res.StatusCode)
	}
}

func TestWhoseBanks(t *testing.T) {
	t.Parallel()
	of := func(env eid.Environment, account, config string) holder {
		return holder{env, eid.IDIN, account, config}
	}
	set := func(h ...holder) agreements {
		a := agreements{{eid.Live, eid.IDINAge, "", ""}: {now: connector.Settings{Key: "age"}}}
		for _, h := range h {
			a[h] = agreement{now: connector.Settings{Key: string(h.env) + "/" + h.account + "/" + h.config}}
		}
		return a
	}
	for _, c := range []struct {
		name, want string
		all        agreements
	}{
		{"nobody has any", "", set()},
		{"the server's", "live//", set(of(eid.Live, "", ""), of(eid.Live, "a", ""), of(eid.Test, "", ""))},
		{"those of tests, if there are no others", "test//", set(of(eid.Test, "", ""))},
		{"the only account's", "live/a/", set(of(eid.Live, "a", ""), of(eid.Live, "a", "counter"))},
		{"of several accounts none", "", set(of(eid.Live, "a", ""), of(eid.Live, "b", ""))},
		{"a counter's is not the account's", "", set(of(eid.Live, "a", "counter"))},
	} {
		_, found, ok := c.all.issuers()
		if ok != (c.want != "") || found.Key != c.want {
			t.Errorf("%s: %q, want %q", c.name, found.Key, c.want)
		}
	}
}

// The log and an error hold no secret of a contract.
func TestContractsAreNotTold(t *testing.T) {
	t.Parallel()
	s := newHouse(t)
	s.withIDIN(t)
	s.write(t, "leak", "not-a-secret-of-hex")
	text := strings.Replace(soundIDIN, "CONTRACT", `CONTRACT, qr: {merchant_token: 6f8a1c52-3d1e-4b0a-9c77-0e5d2f1b8a34, secret_signing_key_file: DIR/leak, secret_encoding: hex, qr_backend_url: "https://qr.example/"}`, 1)
	got := problems(t, s, s.fill(text))
	if len(got) != 1 || strings.Contains(strings.Join(got, ""), "not-a-secret") {
		t.Errorf("problems %q", got)
	}
	if _, _, err := ReadConfig(filepath.Join(s.dir, "corpus.yaml")); err != nil {
		t.Error(err)
	}
}
