package sandbox

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Itsme is what an itsme account holds of a person, read from the document it
// was made with. What is empty the document does not say.
type Itsme struct {
	Birth          string `json:"birthdate,omitempty"`           // 1980-01-02, or today-17y
	BirthText      string `json:"birthdate_as_string,omitempty"` // as printed on a Belgian document
	Gender         string `json:"gender,omitempty"`              // male, female, unknown or n/a
	Locale         string `json:"locale,omitempty"`              // of the app: NL, FR, DE or EN
	Email          string `json:"email,omitempty"`
	Phone          string `json:"phone_number,omitempty"` // +32 425009714
	Street         string `json:"street_address,omitempty"`
	PostalCode     string `json:"postal_code,omitempty"`
	City           string `json:"locality,omitempty"`
	NationalNumber string `json:"national_number,omitempty"` // of the country of the document, where itsme tells one
	Document       string `json:"document_number"`
	DocumentType   string `json:"document_type"`            // ICAO: I, P …
	Issuer         string `json:"issuing_country"`          // of the document: ISO 3166-1 alpha-3
	Citizenship    string `json:"citizenship"`              // as printed
	CitizenshipISO string `json:"citizenship_iso"`          // alpha-3
	BirthPlace     string `json:"place_of_birth,omitempty"` // of Belgian documents, as is the next
	BirthCountry   string `json:"country_of_birth,omitempty"`
	Account        int    `json:"account,omitempty"` // how often it was made anew: another sub each time
}

var itsmeBirth = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2}|today-[0-9]{1,3}y)?$`)

// Check says what is wrong with an account.
func (p *Itsme) Check() error {
	switch {
	case p == nil:
		return nil
	case !itsmeBirth.MatchString(p.Birth):
		return errors.New("itsme: birthdate is written 1980-01-02 or today-17y")
	case len(p.Issuer) != 3 || p.Document == "" || p.DocumentType == "":
		return errors.New("itsme: document_number, document_type and issuing_country (three letters) are required")
	case p.NationalNumber != "" && p.Register() == "":
		return errors.New("itsme: no national_number is told of documents of this issuing_country")
	case p.NationalNumber != "" && p.Issuer == "BEL" && len(p.NationalNumber) != 11, len(p.NationalNumber) > 20:
		return errors.New("itsme: a Belgian national_number has 11 digits, and no other one more than 20 characters")
	}
	return nil
}

// registers are the countries whose numbers itsme tells.
var registers = map[string]string{"BEL": "BE", "ROU": "RO", "BGR": "BG", "CZE": "CZ", "SVK": "SK", "HRV": "HR", "LTU": "LT", "SVN": "SI", "LVA": "LV", "MLT": "MT", "SRB": "RS", "MDA": "MD"}

// Register is the country, ISO 3166-1 alpha-2, whose number the document has;
// "" for a document without one that itsme tells.
func (p *Itsme) Register() string { return registers[p.Issuer] }

// Born is the date of birth on a day, YYYY-MM-DD; "" for unknown.
func (p *Itsme) Born(today time.Time) string {
	years, ok := strings.CutPrefix(p.Birth, "today-")
	if !ok {
		return p.Birth
	}
	n, _ := strconv.Atoi(strings.TrimSuffix(years, "y")) // Check has looked
	return today.UTC().AddDate(-n, 0, 0).Format(time.DateOnly)
}

// Years is the age on a day; ok is false where the account has no date of birth.
func (p *Itsme) Years(today time.Time) (n int, ok bool) {
	born, err := time.Parse(time.DateOnly, p.Born(today))
	if err != nil {
		return 0, false
	}
	today = today.UTC()
	n = today.Year() - born.Year()
	if today.Month() < born.Month() || today.Month() == born.Month() && today.Day() < born.Day() {
		n--
	}
	return n, true
}

func belgian(i Itsme) *Itsme {
	i.Issuer, i.DocumentType, i.Citizenship, i.CitizenshipISO, i.Locale = "BEL", "I", "belge", "BEL", "FR"
	i.Street, i.PostalCode, i.City, i.BirthPlace, i.BirthCountry = "Havenlaan 2", "1000", "Brussel", "Brussel", "BE"
	return &i
}

// withItsme are people with an itsme account. Belgian numbers have serials that
// are never given out; the Romanian one has a county, and a serial, that do not
// exist.
var withItsme = []Person{
	{Key: "florent", Country: "BE", Given: "Florent", Family: "Verschueren", Itsme: belgian(Itsme{Birth: "1980-01-02", BirthText: "02.01.1980", Gender: "male",
		Email: "florent@example.test", Phone: "+32 425009714", NationalNumber: "80010299946", Document: "592000000182"}), About: "the usual person of itsme: a Belgian card, everything known"},
	{Key: "onenaam", Country: "BE", Family: "Peeters", Itsme: belgian(Itsme{Birth: "1975-06-15", BirthText: "15.06.1975", Gender: "female",
		Phone: "+32 425009715", NationalNumber: "75061500003", Document: "592000000283"}), About: "has no given name, and no e-mail"},
	{Key: "sansdate", Country: "BE", Given: "Yvette", Family: "Sansdate", Itsme: belgian(Itsme{BirthText: "00.00.1960", Gender: "female",
		Phone: "+32 425009716", NationalNumber: "60000099967", Document: "592000000384"}), About: "no valid birth date: no age, only birthdate_as_string"},
	{Key: "sanne", Country: "NL", Given: "Sanne", Family: "de Boer", Itsme: &Itsme{Birth: "1992-11-30", Locale: "NL", Email: "sanne@example.test", Phone: "+31 600000001",
		Document: "SPECI2014", DocumentType: "P", Issuer: "NLD", Citizenship: "NLD", CitizenshipISO: "NLD"}, About: "a Dutch passport: no address, no gender, no national number"},
	{Key: "camille", Country: "FR", Given: "Camille Marie", Family: "Exemple", Itsme: &Itsme{Birth: "1988-08-08", Gender: "female", Locale: "FR", Email: "camille@example.test",
		Phone: "+33 600000001", Document: "D2H6862M2", DocumentType: "I", Issuer: "FRA", Citizenship: "FRA", CitizenshipISO: "FRA"}, About: "a French card"},
	{Key: "jonge", Country: "BE", Given: "Lotte", Family: "Jonge", Itsme: belgian(Itsme{Birth: "today-17y", Gender: "female", Phone: "+32 425009717",
		Document: "592000000485"}), About: "17 years old: itsme is for people of 16 and older"},
	{Key: "opnieuw", Country: "BE", Given: "Florent", Family: "Verschueren", Itsme: belgian(Itsme{Birth: "1980-01-02", BirthText: "02.01.1980", Gender: "male",
		Phone: "+32 425009714", NationalNumber: "80010299946", Document: "592000000182", Account: 1}), About: "florent, whose account was deleted and made anew: another sub"},
	{Key: "weigert", Country: "BE", Given: "Willem", Family: "Weigert", Behaviour: "cancels", Itsme: belgian(Itsme{Birth: "1971-04-04", Gender: "male", Phone: "+32 425009718",
		NationalNumber: "71040400041", Document: "592000000586"}), About: "always rejects in the app"},
	{Key: "ionela", Country: "RO", Given: "Ionela", Family: "Exemplu", Itsme: &Itsme{Birth: "1991-08-23", Gender: "female", Locale: "EN", Email: "ionela@example.test",
		Phone: "+40 700000001", NationalNumber: "2910823000008", Document: "ZZ000001", DocumentType: "I", Issuer: "ROU", Citizenship: "ROU", CitizenshipISO: "ROU"}, About: "a Romanian card, and its number: a CNP"},
	{Key: "tace", Country: "IT", Given: "Tullio", Family: "Tace", Behaviour: "ignores", Itsme: &Itsme{Birth: "1969-03-07", Gender: "male", Locale: "EN", Email: "tace@example.test",
		Phone: "+39 3000000001", Document: "CA00000AA", DocumentType: "I", Issuer: "ITA", Citizenship: "ITA", CitizenshipISO: "ITA"}, About: "an Italian card; never acts in the app: itsme's time runs out"},
}
