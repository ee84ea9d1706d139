package jose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
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
