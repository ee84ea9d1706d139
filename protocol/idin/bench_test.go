package idin_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"eidgate/protocol/idin"
)

// BenchmarkAgeAnswer verifies and decrypts an answer with a transient number and
// 18+: at most 5 ms of one core.
func BenchmarkAgeAnswer(b *testing.B) {
	a, asked := success(), want
	a.nameID, a.attributes, a.delivered, asked.Service = "TRANS0123456789abcdef", [][2]string{{"is18orolder", "true"}}, "64", idin.Adult
	read(b, a, asked)
}

// BenchmarkFullAnswer does the same with everything that a contract may ask.
func BenchmarkFullAnswer(b *testing.B) {
	a := success()
	a.attributes = nil
	for _, name := range []string{"initials", "legallastname", "legallastnameprefix", "preferredlastname", "preferredlastnameprefix", "partnerlastname",
		"partnerlastnameprefix", "dateofbirth", "gender", "street", "houseno", "housenosuf", "addressextra", "postalcode", "city", "country",
		"telephone", "email"} {
		a.attributes = append(a.attributes, [2]string{name, "1"})
	}
	read(b, a, want)
}

func read(b *testing.B, a answer, asked idin.Expected) {
	m, raw := merchant(), a.raw(b)
	b.ReportAllocs()
	for b.Loop() {
		s, err := m.ReadStatus(raw, asked, now)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Open(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms")
}

// hostile are messages that want to be expensive. Those with a good signature
// come from a routing service that has been taken over.
func hostile(t testing.TB) map[string][]byte {
	sealed := success()
	sealed.statement = func(s string) string {
		one := "<saml:EncryptedAttribute>" + encrypt(t, attribute("initials", "VJ", ""), &stranger().key.PublicKey) + "</saml:EncryptedAttribute>"
		return s + strings.Repeat(one, 60)
	}
	return map[string][]byte{
		"ten megabytes":      bytes.Repeat([]byte("<a/>"), 10<<18),
		"just small enough":  []byte("<a>" + strings.Repeat("<b/>", 64<<10-8) + "</a>"),
		"nested":             bytes.Repeat([]byte("<a>"), 80<<10),
		"attributes":         []byte("<a " + strings.Repeat(`b="" `, 40<<10) + "/>"),
		"references":         []byte("<a>" + strings.Repeat("&#38;", 50<<10) + "</a>"),
		"a long text":        signed(t, "AcquirerStatusRes", created()+"<x>"+strings.Repeat("x", 250<<10)+"</x>"),
		"elements, signed":   signedFlat(t, "AcquirerStatusRes", created()+strings.Repeat("<x></x>", 4900)),
		"banks, signed":      signedFlat(t, "DirectoryRes", created()+strings.Replace(goodDirectory, "<Country>", "<Country>"+unusable(1600), 1)),
		"another's contents": sealed.raw(t),
	}
}

// unusable are n banks of which no two have one name.
func unusable(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<Issuer><issuerID>AAAAAA2A%c%c%c</issuerID><issuerName>x</issuerName></Issuer>", 'A'+i/676, 'A'+i/26%26, 'A'+i%26)
	}
	return b.String()
}

// BenchmarkHostile measures each of them: at most 20 ms and 8 MB, except where
// decryption is asked for.
func BenchmarkHostile(b *testing.B) {
	for name, raw := range hostile(b) {
		b.Run(name, func(b *testing.B) {
			m := merchant()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				s, err := m.ReadStatus(raw, want, now)
				if err == nil {
					_, err = s.Open(b.Context(), nil)
				}
				if err == nil {
					b.Fatal("accepted")
				}
				if _, err := m.ReadDirectory(raw, now); err == nil && name != "banks, signed" {
					b.Fatal("accepted")
				}
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/1e6/float64(b.N), "MB")
		})
	}
}
