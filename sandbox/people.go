package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A Person is somebody who does not exist. Numbers are official test numbers
// or forms that can never be issued.
type Person struct {
	Key       string   `json:"key"`
	Country   string   `json:"country"`
	Number    string   `json:"number"`
	Name      string   `json:"name"`
	Given     string   `json:"given"`
	Family    string   `json:"family"`
	BankID    []string `json:"bankid,omitempty"` // kinds: mobile, file, card
	Revoked   bool     `json:"revoked,omitempty"`
	Behaviour string   `json:"behaviour,omitempty"` // normal, cancels, ignores, fails:<code>
	About     string   `json:"about"`               // what happens when they are used
}

// ErrNobody means that there is no such person.
var ErrNobody = errors.New("no such person")

// People are the test persons of one sandbox.
type People struct {
	mu  sync.Mutex
	all []Person
}

// NewPeople makes the persons that every sandbox begins with.
func NewPeople() *People { return &People{all: slices.Clone(first)} }

// first is the cast. docs/sandbox.md shows it.
var first = []Person{
	{Key: "ada", Number: "199001012385", Given: "Ada", Family: "Test", BankID: []string{"mobile", "file"}, About: "adult; everything works"},
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

// Put adds a person, or replaces the one of that key.
func (ps *People) Put(p Person) error {
	if p.Key == "" || p.Number == "" {
		return fmt.Errorf("a person needs a key and a number")
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if i := slices.IndexFunc(ps.all, func(q Person) bool { return q.Key == p.Key }); i >= 0 {
		ps.all[i] = p
		return nil
	}
	if len(ps.all) >= 10_000 {
		return errors.New("ten thousand persons are enough")
	}
	ps.all = append(ps.all, p)
	return nil
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
	ps.all = slices.Clone(first)
}
