package xmldsig_test

import (
	"crypto"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"eidgate/internal/xmldsig"
)

// repeat numbers the percent signs of n copies of s.
func repeat(n int, s string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(s, "%", fmt.Sprint(i)))
	}
	return b.String()
}

// nested puts inside into n elements with these attributes.
func nested(n int, attributes, inside string) string {
	return strings.Repeat("<n"+attributes+">", n) + inside + strings.Repeat("</n>", n)
}

// hostile are documents that cost as much as they can, most of them within the
// limits of [xmldsig.Default].
func hostile() map[string]string {
	const room = 250 << 10 // besides the signature
	levels := ""
	for i := range 29 {
		levels += "<n" + strings.ReplaceAll(repeat(32, " xmlns:p&q%='urn:p'"), "&", fmt.Sprint(i)) + ">"
	}
	return map[string]string{
		"a million nested tags":  strings.Repeat("<r>", 1e6),
		"billion laughs":         bomb(),
		"elements":               "<r>" + repeat(4900, "<e a='%'>%</e>") + "</r>",
		"depth":                  nested(30, "", strings.Repeat("<e/>", 4900)),
		"attributes":             "<r>" + strings.Repeat("<e"+repeat(64, " a%=''")+"/>", room/490) + "</r>",
		"declarations":           levels + strings.Repeat("<p28q31:e p0q1:a='' p1q2:b=''/>", 4500) + strings.Repeat("</n>", 29),
		"declarations each":      "<r>" + strings.Repeat("<e"+repeat(32, " xmlns:p%='a:'")+repeat(32, " p%:a%=''")+"/>", room/850) + "</r>",
		"foreign signatures":     nested(29, repeat(60, " a%=''"), strings.Repeat("<Signature/>", 4900)),
		"ids":                    "<r>" + repeat(4900, "<e ID='a%' Id='b%' id='c%'/>") + "</r>",
		"text to escape":         "<r>" + strings.Repeat(">", room) + "</r>",
		"references":             "<r>" + strings.Repeat("&lt;", room/4) + "</r>",
		"open references":        "<r>" + strings.Repeat("&", room) + "</r>",
		"an attribute to escape": "<r a='" + strings.Repeat(`"`, room) + "'/>",
		"line ends":              "<r a='" + strings.Repeat("\r", room/2) + "'>" + strings.Repeat("\r", room/2) + "</r>",
	}
}

// copied puts a genuine signature of another document where Verify looks for one,
// so that it goes on until the digests differ.
func copied(t testing.TB, doc string) []byte {
	t.Helper()
	root := tree(t, "<r/>")
	if err := merchant(t).Sign(root); err != nil {
		t.Fatal(err)
	}
	sig := text(t, root.SelectElement("Signature"))
	sig = sig[strings.Index(sig, "?>")+2:]
	if end := strings.LastIndex(doc, "</"); end >= 0 {
		return []byte(doc[:end] + sig + doc[end:])
	}
	return []byte(strings.TrimSuffix(doc, "/>") + ">" + sig + "</r>")
}

// genuine signs a hostile document, as a party that is trusted could. It is nil
// for what is no document.
func genuine(t testing.TB, doc string) []byte {
	t.Helper()
	d, err := xmldsig.Parse([]byte(doc), xmldsig.Limits{})
	if err != nil {
		return nil
	}
	if err := merchant(t).Sign(d.Root()); err != nil {
		t.Fatal(err)
	}
	return []byte(text(t, d.Root()))
}

// repeated are documents within the limits whose canonical form is thousands of
// times as long: each element declares again what it uses.
func repeated(t testing.TB) map[string][]byte {
	t.Helper()
	declared := " xmlns:p='urn:" + strings.Repeat("p", 200<<10) + "'"
	inSignedInfo := string(copied(t, "<r></r>"))
	at := strings.Index(inSignedInfo, "<Transforms")
	return map[string][]byte{
		"in the element": copied(t, "<r"+declared+">"+strings.Repeat("<p:e/>", 4900)+"</r>"),
		"in SignedInfo":  []byte("<r" + declared + inSignedInfo[len("<r"):at] + strings.Repeat("<p:e/>", 4900) + inSignedInfo[at:]),
	}
}

// TestRepeatedDeclarations: a short document is not made into gigabytes, of
// which nothing needs to be signed.
func TestRepeatedDeclarations(t *testing.T) {
	t.Parallel()
	for name, doc := range repeated(t) {
		_, err := xmldsig.Verify(doc, xmldsig.Limits{}, xmldsig.Rule{Select: always(certificate(t, "merchant.pem")), Now: clock})
		if e, ok := errors.AsType[*xmldsig.Error](err); !ok || e.Kind != xmldsig.Size {
			t.Errorf("%s: %v, want %s", name, err, xmldsig.Size)
		}
	}
}

// TestHostileMemory holds what each hostile document allocates to 10 MiB: the 8
// that are meant, and what the race detector's build copies twice. It shares
// the counters with no other test, since it is not parallel.
func TestHostileMemory(t *testing.T) {
	rule := xmldsig.Rule{Select: always(certificate(t, "merchant.pem")), Now: clock}
	more := repeated(t)
	for name, doc := range hostile() {
		more[name+", copied signature"], more[name+", genuine signature"] = copied(t, doc), genuine(t, doc)
	}
	for name, doc := range more {
		if doc == nil {
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := xmldsig.Verify(doc, xmldsig.Limits{}, rule)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 10<<20 {
			t.Errorf("%s: %.1f MiB, then %v", name, float64(used)/(1<<20), err)
		}
	}
}

// BenchmarkHostile measures what each hostile document costs: at most 20 ms and
// 8 MiB are meant.
func BenchmarkHostile(b *testing.B) {
	rule := xmldsig.Rule{Select: always(certificate(b, "merchant.pem")), Now: clock}
	for name, doc := range hostile() {
		for who, doc := range map[string][]byte{"copied": copied(b, doc), "genuine": genuine(b, doc)} {
			if doc == nil {
				continue
			}
			b.Run(strings.ReplaceAll(name, " ", "-")+"/"+who, func(b *testing.B) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for b.Loop() {
					_, _ = xmldsig.Verify(doc, xmldsig.Limits{}, rule)
				}
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/doc")
				b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/(1<<20)/float64(b.N), "MiB/doc")
			})
		}
	}
}

// BenchmarkAnswer reads an answer of iDIN as for an age check: both signatures and
// two encrypted elements; at most 5 ms are meant.
func BenchmarkAnswer(b *testing.B) {
	doc := vector(b, "success.xml")
	routing := named(certificate(b, "routing.pem"))
	keys := []crypto.Decrypter{merchantKey(b)}
	for b.Loop() {
		s, err := xmldsig.Verify(doc, xmldsig.Limits{}, xmldsig.Rule{Select: routing, Now: clock, Others: 1})
		if err != nil {
			b.Fatal(err)
		}
		a, err := s.VerifyElement(s.Root.FindElement("./Transaction/container/Response/Assertion"), xmldsig.Rule{Select: enclosed})
		if err != nil {
			b.Fatal(err)
		}
		for _, path := range []string{"./Subject/EncryptedID", "./AttributeStatement/EncryptedAttribute"} {
			if _, err := xmldsig.Decrypt(a.Root.FindElement(path), keys, xmldsig.Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
