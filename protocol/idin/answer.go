package idin

import "time"

// A Directory is the list of banks (§3). It is fetched once a day or a week,
// never for one transaction.
type Directory struct {
	At        time.Time // when the list was changed last
	Acquirer  string
	Countries []Country
	Notes     []Note
}

// A Country groups banks under its name in its own language: "Nederland".
type Country struct {
	Name    string
	Issuers []Issuer
}

// An Issuer is a bank.
type Issuer struct {
	ID   string // BIC
	Name string // 1 to 35 characters
}

// Issuer finds a bank by its BIC.
func (d *Directory) Issuer(id string) (Issuer, bool) {
	for _, c := range d.Countries {
		for _, i := range c.Issuers {
			if i.ID == id {
				return i, true
			}
		}
	}
	return Issuer{}, false
}

// Started is a transaction that the bank knows.
type Started struct {
	TransactionID string    // 16 digits
	URL           string    // issuerAuthenticationURL: for the top window of the person's browser, unchanged
	At            time.Time // when the acquirer made it
	Notes         []Note
}

// A Note tells that an answer differs from the rules in a way that hurts
// nobody: worth a line in a log, no reason to send a person away (§9). It names
// fields and never holds values.
type Note string
