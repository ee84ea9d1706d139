package jose

// A Kind names one reason of refusal. It is safe to log and to count.
type Kind string

// The kinds (§8).
const (
	Size      Kind = "size"      // more octets, keys or members than the limit
	Shape     Kind = "shape"     // not the number of parts of the compact form
	Encoding  Kind = "encoding"  // not base64url as it would be written
	JSON      Kind = "json"      // no JSON object, or one with two readings
	BadHeader Kind = "header"    // a header that asks for what does not exist here: crit, b64, zip
	Algorithm Kind = "algorithm" // not among those that are expected
	Type      Kind = "type"      // a token of another type than expected
	NoKey     Kind = "key"       // no usable key is known for what the header says
	Private   Kind = "private"   // a key that should be public shows its private part
	Fetch     Kind = "fetch"     // the keys of the other party could not be had
	Signature Kind = "signature" // the signature is wrong
	Decrypt   Kind = "decrypt"   // whatever went wrong once a key was used
	Unsigned  Kind = "unsigned"  // decrypted, but nothing signed inside
	Claim     Kind = "claim"     // a claim is absent or of another form than it must be
	Time      Kind = "time"      // outside the time that the token says, or that is accepted
)

// An Error says why something was refused. Its text names members that are
// registered, and never quotes what a message says. Err is what another
// package said, if that refused.
type Error struct {
	Kind   Kind
	Detail string
	Err    error
}

func (e *Error) Error() string {
	s := "jose: " + string(e.Kind)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

func refuse(k Kind, detail string) error { return &Error{Kind: k, Detail: detail} }
