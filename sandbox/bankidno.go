package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// BankIDNO is what Norwegian BankID knows of a person.
type BankIDNO struct {
	Number     string   `json:"nnin"`      // fødselsnummer or D-number, 11 digits
	PID        string   `json:"pid"`       // the bank's lasting name for the person: 9578-6000-4-470125
	Birth      string   `json:"birthdate"` // 1990-01-01
	Kinds      []string `json:"kinds"`     // BID (code device or app, and password), BIS (biometrics)
	Bank       string   `json:"bank"`      // that issued the certificate
	Phone      string   `json:"phone_number,omitempty"`
	Email      string   `json:"email,omitempty"`
	Street     string   `json:"street_address,omitempty"`
	PostalCode string   `json:"postal_code,omitempty"`
	City       string   `json:"locality,omitempty"`
	Declines   bool     `json:"declines,omitempty"` // to share what UserInfo would tell
}

var (
	nninForm = regexp.MustCompile(`^[0-9]{11}$`)
	pidForm  = regexp.MustCompile(`^9578-[0-9]{4}-4-[0-9]{5,7}$`)
)

// Check says what is wrong with an account.
func (p *BankIDNO) Check() error {
	if p == nil {
		return nil
	}
	if _, err := time.Parse(time.DateOnly, p.Birth); err != nil {
		return errors.New("bankidno: birthdate is written 1990-01-01")
	}
	switch {
	case !nninForm.MatchString(p.Number):
		return errors.New("bankidno: nnin has 11 digits")
	case !pidForm.MatchString(p.PID):
		return errors.New("bankidno: pid is written 9578-6000-4-470125")
	case !slices.Contains(p.Kinds, "BID") || slices.ContainsFunc(p.Kinds, func(k string) bool { return k != "BID" && k != "BIS" }):
		return errors.New("bankidno: kinds are BID, and perhaps BIS")
	}
	return nil
}

// nnin is a number that nobody has, for a day of birth: the month is raised by
// 80, and both check digits are right. plus is 40 for a D-number.
func nnin(born time.Time, plus int, woman bool) string {
	serial := 100
	if born.Year() >= 2000 {
		serial = 500
	}
	for ; ; serial++ {
		if woman != (serial%2 == 0) {
			continue
		}
		digits := fmt.Sprintf("%02d%02d%02d%03d", born.Day()+plus, int(born.Month())+80, born.Year()%100, serial)
		whole := true
		for _, weights := range [][]int{{3, 7, 6, 1, 8, 9, 4, 5, 2}, {5, 4, 3, 2, 7, 6, 5, 4, 3, 2}} {
			sum := 0
			for i, w := range weights {
				sum += w * int(digits[i]-'0')
			}
			k := (11 - sum%11) % 11
			if whole = whole && k != 10; !whole {
				break
			}
			digits += string(rune('0' + k))
		}
		if whole {
			return digits
		}
	}
}

func norwegian(b BankIDNO) *BankIDNO {
	b.Bank = "TestBank1 AS"
	if b.Kinds == nil {
		b.Kinds = []string{"BID", "BIS"}
	}
	if !b.Declines {
		b.Street, b.PostalCode, b.City = "Eksempelveien 1", "0001", "Oslo"
		b.Phone, b.Email = "+4799999999", strings.ReplaceAll(b.PID, "-", "")+"@example.test"
	}
	return &b
}

// withBankIDNO are people with a Norwegian BankID.
func withBankIDNO(today time.Time) []Person {
	young := today.UTC().AddDate(-17, 0, 0)
	return []Person{
		{Key: "ola", Country: "NO", Given: "Ola", Family: "Nordmann", BankIDNO: norwegian(BankIDNO{Number: "01819010354", PID: "9578-6000-4-000017", Birth: "1990-01-01"}),
			About: "the usual person of Norwegian BankID: BankID with a password, and with biometrics"},
		{Key: "kari", Country: "NO", Given: "Kari", Family: "Nordmann", BankIDNO: norwegian(BankIDNO{Number: "01819010273", PID: "9578-6000-4-000025", Birth: "1990-01-01", Kinds: []string{"BID"}}),
			About: "has no biometrics: who asks for them gets the password, and the higher level"},
		{Key: "dagny", Country: "NO", Given: "Dagny", Family: "Midlertidig", BankIDNO: norwegian(BankIDNO{Number: "41829010176", PID: "9578-5999-4-000033", Birth: "1990-02-01"}),
			About: "a D-number, of somebody who lives in Norway for a time"},
		{Key: "unge", Country: "NO", Given: "Unni", Family: "Ung", BankIDNO: norwegian(BankIDNO{Number: nnin(young, 0, true), PID: "9578-6000-4-000041", Birth: young.Format(time.DateOnly)}),
			About: "17 years old"},
		{Key: "hemmelig", Country: "NO", Given: "Hege", Family: "Hemmelig", BankIDNO: norwegian(BankIDNO{Number: "24817710030", PID: "9578-6000-4-000058", Birth: "1977-01-24", Declines: true}),
			About: "declines to share phone, e-mail and address"},
		{Key: "byttet", Country: "NO", Given: "Ola", Family: "Nordmann", BankIDNO: norwegian(BankIDNO{Number: "01819010354", PID: "9578-5997-4-3154736", Birth: "1990-01-01"}),
			About: "ola, after changing the bank: another PID"},
		{Key: "avbryter", Country: "NO", Given: "Arne", Family: "Avbryter", Behaviour: "cancels", BankIDNO: norwegian(BankIDNO{Number: "10859210126", PID: "9578-6000-4-000066", Birth: "1992-05-10"}),
			About: "always cancels"},
	}
}
