package sandbox_test

import (
	"slices"
	"testing"

	"eidgate/sandbox"
)

// cnp says whether a text is a Romanian number with the right check digit, and
// whether it can be anybody's.
func cnp(s string) (valid, issued bool) {
	const weights = "279146358279"
	if len(s) != 13 {
		return false, false
	}
	sum := 0
	for i := range weights {
		sum += int(s[i]-'0') * int(weights[i]-'0')
	}
	check := sum % 11
	if check == 10 {
		check = 1
	}
	return int(s[12]-'0') == check, s[7:9] != "00" && s[9:12] != "000"
}

// TestItsmePeople: the numbers of other countries' documents are nobody's, and
// everybody that the protocol has a case for is there.
func TestItsmePeople(t *testing.T) {
	t.Parallel()
	if valid, issued := cnp("1800101221144"); !valid || !issued { // a worked example of the rule
		t.Fatal("the rule of the test is wrong")
	}
	ps := sandbox.NewPeople()
	ionela, err := ps.Get("ionela")
	if err != nil || ionela.Country != "RO" || ionela.Itsme.Register() != "RO" {
		t.Fatalf("%+v, %v", ionela, err)
	}
	n := ionela.Itsme.NationalNumber
	if valid, issued := cnp(n); !valid || issued || n[1:7] != "910823" || n[0] != '2' || ionela.Itsme.Birth != "1991-08-23" || ionela.Itsme.Gender != "female" {
		t.Errorf("ionela's number is %s", n)
	}
	if tace, err := ps.Get("tace"); err != nil || tace.Behaviour != "ignores" || tace.Itsme == nil || tace.Itsme.NationalNumber != "" {
		t.Errorf("%+v, %v", tace, err)
	}
	var numbers []string
	for _, p := range ps.List() {
		if p.Itsme != nil && p.Itsme.NationalNumber != "" && p.Itsme.Account == 0 {
			numbers = append(numbers, p.Itsme.NationalNumber)
		}
	}
	if slices.Sort(numbers); len(slices.Compact(slices.Clone(numbers))) != len(numbers) {
		t.Errorf("two people have one number: %v", numbers)
	}
}

// TestItsmeNumbers: which documents can have a number.
func TestItsmeNumbers(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		issuer, number string
		good           bool
	}{
		"Belgian": {"BEL", "80010299946", true}, "Belgian, ten digits": {"BEL", "8001029994", false}, "Romanian": {"ROU", "2910823000008", true},
		"Slovene": {"SVN", "0101980505018", true}, "Dutch": {"NLD", "123456782", false}, "French, none": {"FRA", "", true}, "too long": {"MDA", "123456789012345678901", false},
	} {
		err := (&sandbox.Itsme{Document: "x", DocumentType: "I", Issuer: x.issuer, NationalNumber: x.number}).Check()
		if (err == nil) != x.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
