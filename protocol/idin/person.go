package idin

import "context"

// A Person is what a bank says of somebody. What it does not say is empty, and
// never guessed: iDIN has no first names.
type Person struct {
	BIN       string // the bank's lasting number of this person for this merchant: opaque, up to 1026 characters
	Transient string // instead of the BIN, another one each time
	FormerBIN string // before the bank renumbered

	Initials                                   string // capitals without dots
	LegalLastName, LegalLastNamePrefix         string
	PreferredLastName, PreferredLastNamePrefix string
	PartnerLastName, PartnerLastNamePrefix     string
	BirthDate                                  string // YYYYMMDD; month and day may be 00
	Adult                                      *bool  // 18 or older; nil if the bank does not say
	Gender                                     string // 0 unknown, 1 male, 2 female, 9 not specified
	Street, HouseNumber, HouseNumberSuffix     string
	AddressExtra, PostalCode, City             string
	Country                                    string    // ISO 3166-1, two letters
	International                              [3]string // lines of an address outside the Netherlands
	Telephone, Email                           string

	DocumentID string            // of what was signed
	Other      map[string]string // attributes that this package does not know, by their whole name

	Missing ServiceID // the groups that were asked and not released: Status.Missing
	Notes   []Note
}

// A Semaphore bounds what decrypts at the same time; *semaphore.Weighted of
// golang.org/x/sync is one.
type Semaphore interface {
	Acquire(ctx context.Context, n int64) error
	Release(n int64)
}
