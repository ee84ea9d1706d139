package idin

import (
	"testing"

	"eidgate/internal/xmldsig"
)

const status = `<?xml version="1.0" encoding="UTF-8"?><AcquirerStatusReq xmlns="http://www.betaalvereniging.nl/iDx/messages/Merchant-Acquirer/1.0.0" version="1.0.0" ` +
	`productID="NL:BVN:BankID:1.0"><createDateTimestamp>2030-01-02T10:00:05.000Z</createDateTimestamp><Merchant><merchantID>1234000001</merchantID><subID>0</subID>` +
	`</Merchant><Transaction><transactionID>1234000000000042</transactionID></Transaction><Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/></AcquirerStatusReq>`

// Whatever is posted, it is a known message or refused with a code, and what
// was accepted is read the same after it was written again.
func FuzzRead(f *testing.F) {
	f.Add([]byte(status))
	f.Add([]byte(`<?xml version="1.0" encoding="latin1"?><a>` + "\xe9</a>"))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`))
	f.Add([]byte("\xff\xfe<\x00a\x00/\x00>\x00"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		req, bad := read(doc)
		if bad != nil {
			if !errorForm.MatchString(bad.code) || bad.detail == "" || req != nil {
				t.Fatalf("refused by %+v", bad)
			}
			return
		}
		again, err := xmldsig.Bytes(req.root)
		if err != nil {
			t.Fatal(err)
		}
		if next, bad := read(again); bad != nil || next.kind != req.kind || next.at("Merchant/merchantID") != req.at("Merchant/merchantID") {
			t.Fatalf("written again it is refused: %v", bad)
		}
	})
}

func TestFuzzSeedIsGood(t *testing.T) {
	t.Parallel()
	if _, bad := read([]byte(status)); bad != nil {
		t.Error(bad)
	}
}
