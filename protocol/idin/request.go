package idin

import "time"

// A Transaction is what AcquirerTrxReq asks (§3, §5).
type Transaction struct {
	Issuer       string        // BIC of the bank, from the Directory
	ReturnURL    string        // where the bank sends the browser: https or an app's scheme, at most 512 characters
	EntranceCode string        // comes back as ec; 1 to 40 letters and digits, see NewEntranceCode
	Reference    string        // a letter, then up to 34 letters and digits, never used before, see NewReference
	Language     string        // of the bank's pages: two small letters; nl and en are in use
	Service      ServiceID     // what is asked for
	Expiration   time.Duration // time for the person at the bank: whole seconds, 1 to 5 min; zero for 5 min
	DocumentID   string        // of what is signed: up to 255 letters and digits; with Sign only
	Now          time.Time     // zero for the client's clock
}
