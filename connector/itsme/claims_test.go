package itsme

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"eidgate/connector/openid"
	"eidgate/eid"
)

func read(t *testing.T, text string) *eid.Identity {
	t.Helper()
	var c openid.Claims
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return identity(c, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
}

// TestNumbers: whose number it is decides the country, and a Belgian one is
// before all others.
func TestNumbers(t *testing.T) {
	t.Parallel()
	const be = `"http://itsme.services/v2/claim/BENationalNumber":`
	for text, want := range map[string]string{
		`{}`:                            " ",
		`{` + be + `"80010299946"}`:     "BE 80010299946",
		`{` + be + `"80.01.02-999.46"}`: "BE 80010299946",
		`{"http://itsme.services/v2/claim/RONationalNumber":"2910823000008"}`:                        "RO 2910823000008",
		`{"http://itsme.services/v2/claim/RONationalNumber":" 2910823000008 "}`:                      "RO 2910823000008",
		`{"http://itsme.services/v2/claim/BGNationalNumber":"1"}`:                                    "BG 1",
		`{"http://itsme.services/v2/claim/CZNationalNumber":"910101/0007"}`:                          "CZ 910101/0007",
		`{"http://itsme.services/v2/claim/SKNationalNumber":"3"}`:                                    "SK 3",
		`{"http://itsme.services/v2/claim/HRNationalNumber":"4"}`:                                    "HR 4",
		`{"http://itsme.services/v2/claim/LTNationalNumber":"5"}`:                                    "LT 5",
		`{"http://itsme.services/v2/claim/SINationalNumber":"6"}`:                                    "SI 6",
		`{"http://itsme.services/v2/claim/SVNationalNumber":"7"}`:                                    "SI 7",
		`{"http://itsme.services/v2/claim/LVNationalNumber":"8"}`:                                    "LV 8",
		`{"http://itsme.services/v2/claim/MTNationalNumber":"9"}`:                                    "MT 9",
		`{"http://itsme.services/v2/claim/RSNationalNumber":"10"}`:                                   "RS 10",
		`{"http://itsme.services/v2/claim/MDNationalNumber":"11"}`:                                   "MD 11",
		`{"http://itsme.services/v2/claim/XXNationalNumber":"12"}`:                                   " ",
		`{"http://itsme.services/v2/claim/RONationalNumber":{}}`:                                     " ",
		`{"http://itsme.services/v2/claim/RONationalNumber":"1",` + be + `"2"}`:                      "BE 2",
		`{"http://itsme.services/v2/claim/RONationalNumber":"1",` + be + `""}`:                       "RO 1",
		`{"http://itsme.services/v2/claim/HRNationalNumber":"1","address":{}}`:                       "HR 1",
		`{"tag:sixdots.be,2016-06:claim_eid":{"national_number":"80.01.02-999.46"}}`:                 "BE 80010299946",
		`{"tag:sixdots.be,2016-06:claim_eid":{"eid":"592000000182"}}`:                                "BE ",
		`{"http://itsme.services/v2/claim/BEeidSn":"592000000182"}`:                                  "BE ",
		`{"address":{"locality":"Brussel"}}`:                                                         "BE ",
		`{"http://itsme.services/v2/claim/IDIssuingCountry":{"name":"ROU"}}`:                         "RO ",
		`{"http://itsme.services/v2/claim/IDIssuingCountry":{"name":"NLD"},` + be + `"80010299946"}`: "BE 80010299946",
	} {
		if id := read(t, text); id.Country+" "+string(id.Number) != want {
			t.Errorf("%s: %s %s, want %s", text, id.Country, string(id.Number), want)
		}
	}
}

// TestSpellings: names of the first generation in all that are published.
func TestSpellings(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"tag:sixdots.be,2016-06:", "tag:sixdots.be,2017-05:", "tag:itsmetag:sixdots.be,2016-06:", "tag:sixdots.be,2017-05:2017-05:"} {
		text := strings.ReplaceAll(`{"~claim_nationality":"belge","~claim_city_of_birth":"Brussel","~claim_country_of_birth":"BE","~claim_passport_sn":"SPECI2014",
			"~claim_device":{"os":"IOS","msisdn":"0032425009714","hasSimEnabled":true,"imei":"1","deviceID":"d"},
			"~claim_transaction_info":{"securityLevel":"SIM_ONLY","bindLevel":"SOFT_ONLY","mcc":206}}`, "~", prefix)
		id := read(t, text)
		for key, want := range map[string]string{"citizenship": "belge", "city_of_birth": "Brussel", "country_of_birth": "BE", "document_number": "SPECI2014", "device_os": "IOS",
			"device_msisdn": "0032425009714", "device_hasSimEnabled": "true", "device_imei": "1", "device_deviceId": "d",
			"transaction_securityLevel": "SIM_ONLY", "transaction_bindLevel": "SOFT_ONLY", "transaction_mcc": "206"} {
			if id.Signals[key] != want {
				t.Errorf("%s: %s is %q, want %q", prefix, key, id.Signals[key], want)
			}
		}
	}
	if id := read(t, `{"tag:other.example,2016-06:claim_passport_sn":"1","claim_passport_sn":"2","http://itsme.services/v2/claim/claim_passport_sn":"3"}`); id.Signals["document_number"] != "" {
		t.Errorf("a name of somebody else: %v", id.Signals)
	}
}

// TestSecond: what the second generation tells of the app, the account and the
// document beside the usual.
func TestSecond(t *testing.T) {
	t.Parallel()
	id := read(t, strings.ReplaceAll(`{"~official_gender":"F","~place_of_birth":{"city":"Rijsel","country":"FR","formatted":"Rijsel FR"},
		"~app":{"appInstalledDate":"2023-04-12T15:02:23Z","appName":"a","appRelease":"4"},"~account":{"activationDate":"2023-04-13T00:00:00Z","activationMechanism":"CARD_READER"},
		"~identification_mode":"a2a","~transaction_ip":"192.0.2.1","~ongoing_call":false,"~claim_device":{"deviceId":"d"}}`, "~", ns))
	for key, want := range map[string]string{"official_gender": "F", "city_of_birth": "Rijsel", "country_of_birth": "FR", "app_appInstalledDate": "2023-04-12T15:02:23Z", "app_appName": "a",
		"app_appRelease": "4", "account_activationDate": "2023-04-13T00:00:00Z", "account_activationMechanism": "CARD_READER", "identification_mode": "a2a",
		"transaction_ip": "192.0.2.1", "ongoing_call": "false", "device_deviceId": "d"} {
		if id.Signals[key] != want {
			t.Errorf("%s is %q, want %q", key, id.Signals[key], want)
		}
	}
}
