package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"io"
	"strings"
	"testing"
)

// Signatures of the message "sample" (RFC 6979, appendices A.2.5 and A.2.6).
func TestSignaturesOnCurvesAreThoseOfRFC6979(t *testing.T) {
	t.Parallel()
	for alg, v := range map[string]struct {
		curve     elliptic.Curve
		key, r, s string
	}{
		ES256: {
			elliptic.P256(),
			"C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
			"EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
			"F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
		},
		ES384: {
			elliptic.P384(),
			"6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5",
			"94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46",
			"99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
		},
	} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			raw, err := hex.DecodeString(v.key)
			if err != nil {
				t.Fatal(err)
			}
			key, err := ecdsa.ParseRawPrivateKey(v.curve, raw)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := sign(alg, key, "sample")
			if got, want := strings.ToUpper(hex.EncodeToString(sig)), v.r+v.s; err != nil || got != want {
				t.Errorf("signature %s, %v, want %s", got, err, want)
			}
		})
	}
}

// A signer that is not Go's writes what it likes.
func TestSignatureOfForeignSigner(t *testing.T) {
	t.Parallel()
	full, zeros := strings.Repeat("81", 32), strings.Repeat("00", 31)
	for name, c := range map[string]struct{ der, want string }{
		"short numbers":           {"3006" + "020101" + "02017f", zeros + "01" + zeros + "7f"},
		"a zero before the sign":  {"3008" + "02020080" + "020200ff", zeros + "80" + zeros + "ff"},
		"numbers of the size":     {"3046" + "022100" + full + "022100" + full, full + full},
		"zero":                    {"3006" + "020100" + "020101", ""},
		"negative":                {"3006" + "020101" + "0201ff", ""},
		"a zero that is too much": {"3007" + "02020001" + "020101", ""},
		"longer than the curve":   {"3027" + "022201" + "00" + full + "020101", ""},
		"one number":              {"3003" + "020101", ""},
		"three numbers":           {"3009" + "020101" + "020101" + "020101", ""},
		"more behind":             {"3006" + "020101" + "020101" + "00", ""},
		"nothing":                 {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			der, err := hex.DecodeString(c.der)
			if err != nil {
				t.Fatal(err)
			}
			sig, err := sign(ES256, scripted(der), "sample")
			if got := hex.EncodeToString(sig); got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}

// scripted is a signer whose signature is known.
type scripted []byte

func (scripted) Public() crypto.PublicKey { return nil }

func (s scripted) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return s, nil }
