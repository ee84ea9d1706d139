package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// IDIN is what a Dutch bank knows of a person, under the names that iDIN
// gives to its attributes. What is empty the bank does not know.
type IDIN struct {
	Initials           string `json:"initials,omitempty"` // iDIN has no first names
	LegalLastName      string `json:"legallastname,omitempty"`
	LegalPrefix        string `json:"legallastnameprefix,omitempty"`
	PreferredLastName  string `json:"preferredlastname,omitempty"`
	PreferredPrefix    string `json:"preferredlastnameprefix,omitempty"`
	PartnerLastName    string `json:"partnerlastname,omitempty"`
	PartnerPrefix      string `json:"partnerlastnameprefix,omitempty"`
	DateOfBirth        string `json:"dateofbirth,omitempty"` // 19750725, 19500000 (parts unknown), or today-18y
	Gender             string `json:"gender,omitempty"`      // 0, 1, 2 or 9
	Street             string `json:"street,omitempty"`
	HouseNo            string `json:"houseno,omitempty"`
	HouseNoSuffix      string `json:"housenosuf,omitempty"`
	AddressExtra       string `json:"addressextra,omitempty"`
	PostalCode         string `json:"postalcode,omitempty"`
	City               string `json:"city,omitempty"`
	Country            string `json:"country,omitempty"`
	InternationalLine1 string `json:"intaddressline1,omitempty"`
	InternationalLine2 string `json:"intaddressline2,omitempty"`
	InternationalLine3 string `json:"intaddressline3,omitempty"`
	Telephone          string `json:"telephone,omitempty"`
	Email              string `json:"email,omitempty"`
	DeprecatedBIN      string `json:"deprecatedbin,omitempty"` // the number before the bank changed its numbering
}

// Birth is the date of birth on a day, YYYYMMDD; "" for unknown.
func (p *IDIN) Birth(today time.Time) string {
	years, ok := strings.CutPrefix(p.DateOfBirth, "today-")
	if !ok {
		return p.DateOfBirth
	}
	n, _ := strconv.Atoi(strings.TrimSuffix(years, "y")) // Check has looked
	return today.UTC().AddDate(-n, 0, 0).Format("20060102")
}

// Adult says whether the person is 18 or older on a day, true or false; "" where
// not even the year of birth is known. Of an unknown month or day the latest
// one counts.
func (p *IDIN) Adult(today time.Time) string {
	birth := p.Birth(today)
	if len(birth) != 8 {
		return ""
	}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n } // Check has looked: digits
	year, month, day := number(birth[:4]), number(birth[4:6]), number(birth[6:])
	if month == 0 {
		month, day = 12, 31
	}
	if day == 0 {
		month++ // day 0 of it is the last one of this month
	}
	of18 := time.Date(year+18, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return strconv.FormatBool(!today.UTC().Before(of18))
}

var (
	birthForm      = regexp.MustCompile(`^([0-9]{8}|today-[0-9]{1,3}y)$`)
	initialsForm   = regexp.MustCompile(`^\p{Lu}{1,24}$`)
	houseForm      = regexp.MustCompile(`^[0-9]{1,5}$`)
	postalForm     = regexp.MustCompile(`^[0-9]{4}[A-Z]{2}$`)
	countryForm    = regexp.MustCompile(`^[A-Z]{2}$`)
	telephoneForm  = regexp.MustCompile(`^[0-9 +()-]{1,20}$`)
	deprecatedForm = regexp.MustCompile(`^[A-Z]{2}[!-~]{4,200}$`)
)

// Check keeps the attributes to what iDIN's own libraries accept.
func (p *IDIN) Check() error {
	if p == nil {
		return nil
	}
	for _, f := range []struct {
		name, value string
		form        *regexp.Regexp
	}{{"dateofbirth", p.DateOfBirth, birthForm}, {"initials", p.Initials, initialsForm}, {"houseno", p.HouseNo, houseForm},
		{"postalcode", p.PostalCode, postalForm}, {"country", p.Country, countryForm}, {"telephone", p.Telephone, telephoneForm},
		{"deprecatedbin", p.DeprecatedBIN, deprecatedForm}} {
		if f.value != "" && !f.form.MatchString(f.value) {
			return fmt.Errorf("idin: %s does not match %s", f.name, f.form)
		}
	}
	for _, f := range []struct {
		name, value string
		limit       int
	}{{"legallastname", p.LegalLastName, 200}, {"legallastnameprefix", p.LegalPrefix, 10}, {"preferredlastname", p.PreferredLastName, 200},
		{"preferredlastnameprefix", p.PreferredPrefix, 10}, {"partnerlastname", p.PartnerLastName, 200}, {"partnerlastnameprefix", p.PartnerPrefix, 10},
		{"street", p.Street, 43}, {"housenosuf", p.HouseNoSuffix, 5}, {"addressextra", p.AddressExtra, 70}, {"city", p.City, 24},
		{"intaddressline1", p.InternationalLine1, 70}, {"intaddressline2", p.InternationalLine2, 70}, {"intaddressline3", p.InternationalLine3, 70},
		{"email", p.Email, 255}} {
		if utf8.RuneCountInString(f.value) > f.limit || strings.ContainsFunc(f.value, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) {
			return fmt.Errorf("idin: %s has at most %d characters and no control characters", f.name, f.limit)
		}
	}
	if p.Gender != "" && !slices.Contains([]string{"0", "1", "2", "9"}, p.Gender) {
		return errors.New("idin: gender is 0, 1, 2 or 9")
	}
	return nil
}

var adaIDIN = &IDIN{Initials: "A", LegalLastName: "Test", DateOfBirth: "19900101", Gender: "2", Street: "Teststraat", HouseNo: "1",
	PostalCode: "0000AB", City: "Testdorp", Country: "NL", Telephone: "+31200000000", Email: "ada@example.com"}

// at gives a person an address that does not exist, and means to write to them.
func at(p IDIN) *IDIN {
	p.Street, p.HouseNo, p.PostalCode, p.City, p.Country = "Voorbeeldlaan", "7", "0000AC", "Voorbeelddam", "NL"
	p.Telephone, p.Email = "+31201234567", strings.ToLower(p.Initials)+"@example.com"
	return &p
}

// dutch are the persons whom the Dutch banks know.
var dutch = []Person{
	{Key: "vries", Country: "NL", Given: "VJ", Family: "de Vries", IDIN: &IDIN{Initials: "VJ", LegalLastName: "Vries", LegalPrefix: "de", PreferredLastName: "Vries-Jansen",
		PreferredPrefix: "de", PartnerLastName: "Jansen", PartnerPrefix: "de", DateOfBirth: "19750725", Gender: "1", Street: "Pascalstreet", HouseNo: "19",
		PostalCode: "0000AA", City: "Maastricht", Country: "NL", Telephone: "+31203051900", Email: "info@equensworldline.nl"}, About: "the usual person of iDIN's test banks"},
	{Key: "jong", Country: "NL", Given: "J", Family: "Jong", IDIN: at(IDIN{Initials: "J", LegalLastName: "Jong", DateOfBirth: "today-17y", Gender: "2"}), About: "17 years old"},
	{Key: "grens", Country: "NL", Given: "G", Family: "Grens", IDIN: at(IDIN{Initials: "G", LegalLastName: "Grens", DateOfBirth: "today-18y", Gender: "1"}), About: "18 today"},
	{Key: "onbekend", Country: "NL", Given: "O", Family: "Onbekend", IDIN: &IDIN{Initials: "O", LegalLastName: "Onbekend", DateOfBirth: "19500000", Gender: "9", Street: "Voorbeeldlaan",
		HouseNo: "8", PostalCode: "0000AC", City: "Voorbeelddam", Country: "NL"}, About: "only the year of birth is known; no telephone, no e-mail"},
	{Key: "abroad", Country: "NL", Given: "A", Family: "Ausland", IDIN: &IDIN{Initials: "A", LegalLastName: "Ausland", DateOfBirth: "19800229", Gender: "2", Country: "DE",
		InternationalLine1: "Musterweg 12", InternationalLine2: "00000 Musterstadt", InternationalLine3: "Hinterhaus", Telephone: "+49 (30) 000000", Email: "a@example.com"},
		About: "lives in Germany: address in three lines"},
	{Key: "kort", Country: "NL", Given: "K", Family: "Kort", IDIN: &IDIN{Initials: "K", LegalLastName: "Kort", DateOfBirth: "19911231", Gender: "0", Street: "Voorbeeldlaan", HouseNo: "9",
		HouseNoSuffix: "A", AddressExtra: "achterom", PostalCode: "0000AC", City: "Voorbeelddam", Country: "NL", Telephone: "+31201234567", Email: "k@example.com"},
		About: "legal name only, and a house number with a letter"},
	{Key: "accent", Country: "NL", Given: "ÉŠ", Family: "Vriës-Çelik", IDIN: &IDIN{Initials: "ÉŠ", LegalLastName: "Vriës-Çelik", PreferredLastName: "Vriës-Çelik", DateOfBirth: "19850615",
		Gender: "2", Street: "Ĳsselkade", HouseNo: "3", PostalCode: "0000AD", City: "Fryslân", Country: "NL", Telephone: "+31201234568", Email: "es@example.com"},
		About: "letters like É Š ë Ç"},
	{Key: "oldbin", Country: "NL", Given: "B", Family: "Bankier", IDIN: with(at(IDIN{Initials: "B", LegalLastName: "Bankier", DateOfBirth: "19700404", Gender: "1"}), "NLOUDB0123456789"),
		About: "the bank changed its numbering: the former number comes along"},
	{Key: "geheim", Country: "NL", Given: "G", Family: "Geheim", IDIN: &IDIN{Initials: "G", LegalLastName: "Geheim", DateOfBirth: "19790909", Gender: "2"},
		About: "protected address: none, no telephone, no e-mail"},
	{Key: "cancels-nl", Country: "NL", Given: "C", Family: "Annuleert", Behaviour: "cancels", IDIN: at(IDIN{Initials: "C", LegalLastName: "Annuleert", DateOfBirth: "19820202", Gender: "1"}),
		About: "always cancels at the bank"},
	{Key: "ignores-nl", Country: "NL", Given: "N", Family: "Nooit", Behaviour: "ignores", IDIN: at(IDIN{Initials: "N", LegalLastName: "Nooit", DateOfBirth: "19830303", Gender: "2"}),
		About: "never answers at the bank: the transaction expires"},
	{Key: "blocked-nl", Country: "NL", Given: "B", Family: "Geblokkeerd", Revoked: true, IDIN: at(IDIN{Initials: "B", LegalLastName: "Geblokkeerd", DateOfBirth: "19840404", Gender: "9"}),
		About: "the bank has blocked the log-in: failure"},
}

func with(p *IDIN, deprecated string) *IDIN {
	p.DeprecatedBIN = deprecated
	return p
}
