package sandbox

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// A Person is somebody who does not exist. Numbers are official test numbers
// or forms that can never be issued.
type Person struct {
	Key       string    `json:"key"`
	Country   string    `json:"country"`
	Number    string    `json:"number"`
	Name      string    `json:"name"`
	Given     string    `json:"given"`
	Family    string    `json:"family"`
	BankID    []string  `json:"bankid,omitempty"` // kinds: mobile, file, card
	Revoked   bool      `json:"revoked,omitempty"`
	Behaviour string    `json:"behaviour,omitempty"` // normal, asks, cancels, ignores, fails:<code>, or an outcome
	IDIN      *IDIN     `json:"idin,omitempty"`      // nil: no Dutch bank knows them
	Itsme     *Itsme    `json:"itsme,omitempty"`     // nil: has no account
	BankIDNO  *BankIDNO `json:"bankidno,omitempty"`  // nil: has no Norwegian BankID
	MitID     *MitID    `json:"mitid,omitempty"`     // nil: has none
	About     string    `json:"about"`               // what happens when they are used
}

// ErrNobody means that there is no such person.
var ErrNobody = errors.New("no such person")

// People are the test persons of one sandbox.
type People struct {
	mu  sync.Mutex
	all []Person
}

// NewPeople makes the persons that every sandbox begins with.
func NewPeople() *People { return &People{all: cast(time.Now())} }

// cast is who is there at first. docs/sandbox.md shows it. One of them turns
// 18 today.
func cast(today time.Time) []Person {
	birth := today.UTC().AddDate(-18, 0, 0).Format("20060102") + "238"
	return append(append(slices.Clone(first), Person{Key: "eighteen", Number: birth + luhn(birth[2:]), Given: "Arton", Family: "Idag",
		BankID: []string{"mobile"}, About: "turns 18 on the day the sandbox starts"}), slices.Concat(dutch, withItsme, withBankIDNO(today), withMitID)...)
}

// luhn is the check digit of nine digits.
func luhn(digits string) string {
	sum := 0
	for i, r := range digits {
		n := int(r-'0') * (2 - i%2)
		sum += n/10 + n%10
	}
	return strconv.Itoa((10 - sum%10) % 10)
}

var first = []Person{
	{Key: "ada", Number: "199001012385", Given: "Ada", Family: "Test", BankID: []string{"mobile", "file"}, IDIN: adaIDIN, About: "adult; everything works"},
	{Key: "bo", Number: "199001032391", Given: "Bo", Family: "Provsson", BankID: []string{"mobile"}, About: "a second adult, for the wrong person"},
	{Key: "alva", Number: "199908072391", Given: "Alva", Family: "Simulerad", BankID: []string{"mobile"}, About: "the usual person of other simulators"},
	{Key: "tolvan", Number: "191212121212", Given: "Tolvan", Family: "Tolvansson", BankID: []string{"file"}, About: "over a hundred years old, BankID on file"},
	{Key: "eva", Number: "200801012386", Given: "Eva", Family: "Artonsson", BankID: []string{"mobile"}, About: "turned 18 in 2026"},
	{Key: "mini", Number: "201501012395", Given: "Mini", Family: "Testsson", BankID: []string{"mobile"}, About: "a child"},
	{Key: "gammel", Number: "190001019801", Given: "Gammel", Family: "Kortsson", BankID: []string{"card"}, About: "over a hundred, BankID on card"},
	{Key: "sam", Number: "199001792382", Given: "Sam", Family: "Ordning", BankID: []string{"mobile"}, About: "a coordination number, born on the 19th"},
	{Key: "sam-month", Number: "199000702390", Given: "Sam", Family: "Utan Månad", BankID: []string{"mobile"}, About: "month of birth unknown: no birth date, no age"},
	{Key: "sam-day", Number: "191711602399", Given: "Sam", Family: "Utan Dag", BankID: []string{"mobile"}, About: "day of birth unknown: no birth date, no age"},
	{Key: "letters", Number: "198001022386", Given: "Åsa Ø", Family: "Žofić-ß", BankID: []string{"mobile"}, About: "letters like Å Ø ß ć Ž"},
	{Key: "revoked", Number: "198501012382", Given: "Rut", Family: "Spärrad", BankID: []string{"mobile"}, Revoked: true, About: "the BankID is revoked: certificateErr"},
	{Key: "cancels", Number: "198001022394", Given: "Carl", Family: "Avbryter", BankID: []string{"mobile"}, Behaviour: "cancels", About: "always cancels in the app"},
	{Key: "slow", Number: "198101022385", Given: "Sven", Family: "Sölig", BankID: []string{"mobile"}, Behaviour: "approve after 5s", About: "approves five seconds after the app has the order"},
	{Key: "nobankid", Number: "198101022393", Given: "Nils", Family: "Utan", About: "has no BankID: the app opens and finds nothing to use"},
	{Key: "ignores", Number: "195001182046", Given: "Ingrid", Family: "Tyst", BankID: []string{"mobile"}, Behaviour: "ignores", About: "never answers: the order expires"},
}

func (p Person) full() Person {
	if p.Country == "" {
		p.Country = "SE"
	}
	if p.Name == "" {
		p.Name = strings.TrimSpace(p.Given + " " + p.Family)
	}
	if p.Behaviour == "" {
		p.Behaviour = "normal"
	}
	return p
}

// List is everybody, in the order of the cast.
func (ps *People) List() []Person {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	out := make([]Person, len(ps.all))
	for i, p := range ps.all {
		out[i] = p.full()
	}
	return out
}

// Get finds a person by key.
func (ps *People) Get(key string) (Person, error) {
	return ps.find(func(p Person) bool { return p.Key == key })
}

// ByNumber finds a person by personal number.
func (ps *People) ByNumber(number string) (Person, error) {
	return ps.find(func(p Person) bool { return p.Number == number })
}

func (ps *People) find(is func(Person) bool) (Person, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if i := slices.IndexFunc(ps.all, is); i >= 0 {
		return ps.all[i].full(), nil
	}
	return Person{}, ErrNobody
}

// Behaviour is the outcome that a behaviour stands for; "" for none.
func Behaviour(s string) (Outcome, error) {
	switch s {
	case "", "normal":
		return "", nil
	case "asks", "ignores": // waits for the phone, whatever the server's mode
		return Ignore, nil
	case "cancels":
		return Cancel, nil
	}
	if code, ok := strings.CutPrefix(s, "fails:"); ok {
		return ParseOutcome("fail:" + code)
	}
	o, err := ParseOutcome(s)
	if err != nil {
		return "", fmt.Errorf("behaviour %.60q is none of normal, asks, cancels, ignores, fails:<code>, or an outcome such as \"approve after 3s\"", s)
	}
	return o, nil
}

var (
	keyForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)
	numberForm = regexp.MustCompile(`^[0-9]{12}$`)
)

// check says what is wrong with a person.
func (p Person) check() error {
	if !keyForm.MatchString(p.Key) {
		return errors.New("a person's key has up to 40 small letters, digits and hyphens")
	}
	if (p.Country == "" || p.Country == "SE") && !numberForm.MatchString(p.Number) {
		return errors.New("a Swedish number has 12 digits, without a hyphen")
	}
	for _, k := range p.BankID {
		if k != "mobile" && k != "file" && k != "card" {
			return fmt.Errorf("%.20q is none of the kinds mobile, file, card", k)
		}
	}
	for _, text := range []string{p.Name, p.Given, p.Family, p.About} {
		if len(text) > 200 || !utf8.ValidString(text) {
			return errors.New("names and notes have at most 200 bytes")
		}
	}
	if err := errors.Join(p.IDIN.Check(), p.Itsme.Check(), p.BankIDNO.Check(), p.MitID.Check()); err != nil {
		return err
	}
	_, err := Behaviour(p.Behaviour)
	return err
}

// Put adds a person, or replaces the one of that key.
func (ps *People) Put(p Person) error {
	if err := p.check(); err != nil {
		return err
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if i := slices.IndexFunc(ps.all, func(q Person) bool { return q.Key == p.Key }); i >= 0 {
		ps.all[i] = p
		return nil
	}
	if len(ps.all) >= 10_000 {
		return errors.New("ten thousand persons are enough; remove some")
	}
	ps.all = append(ps.all, p)
	return nil
}

// Patch changes a person; the key stays.
func (ps *People) Patch(key string, change func(*Person) error) (Person, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	i := slices.IndexFunc(ps.all, func(q Person) bool { return q.Key == key })
	if i < 0 {
		return Person{}, ErrNobody
	}
	p := ps.all[i]
	p.BankID = slices.Clone(p.BankID)
	p.IDIN, p.Itsme, p.BankIDNO, p.MitID = own(p.IDIN), own(p.Itsme), own(p.BankIDNO), own(p.MitID) // others may be reading them
	if p.BankIDNO != nil {
		p.BankIDNO.Kinds = slices.Clone(p.BankIDNO.Kinds)
	}
	if p.MitID != nil {
		p.MitID.Authenticators = slices.Clone(p.MitID.Authenticators)
	}
	if err := change(&p); err != nil {
		return Person{}, err
	}
	p.Key = key
	if err := p.check(); err != nil {
		return Person{}, err
	}
	ps.all[i] = p
	return p.full(), nil
}

// own is a copy.
func own[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

// Remove takes a person away.
func (ps *People) Remove(key string) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	n := len(ps.all)
	ps.all = slices.DeleteFunc(ps.all, func(p Person) bool { return p.Key == key })
	if len(ps.all) == n {
		return ErrNobody
	}
	return nil
}

// Reset brings the first cast back.
func (ps *People) Reset() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.all = cast(time.Now())
}
