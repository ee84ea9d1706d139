package idin

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"eidgate/internal/xmldsig"
)

// ErrRequest means that a message was not sent, since it would be refused: the
// caller has to change it.
var ErrRequest = errors.New("iDIN message not sent")

// ErrNoData means that a person was identified, and that the answer holds
// nothing of them: the data were fetched before, or too late (§7.2). The
// transaction has ended; asking again cannot help.
var ErrNoData = errors.New("iDIN success without data")

// ErrTransport is what every TransportError is.
var ErrTransport = errors.New("iDIN routing service not reached")

// A TransportError means that there is no answer to read. It is ErrTransport.
type TransportError struct {
	Sent   bool  // the routing service may have got and processed the message
	Status int   // of HTTP; 0 if none came
	Err    error // nil if Status says it all
}

func (e *TransportError) Error() string {
	text := ErrTransport.Error()
	if e.Status != 0 {
		text = "iDIN routing service answers status " + strconv.Itoa(e.Status)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *TransportError) Unwrap() error        { return e.Err }
func (e *TransportError) Is(target error) bool { return target == ErrTransport }

// An Error is an answer that refuses: AcquirerErrorRes, or a transaction that
// ended as Success with a SAML status that is none (§10.2). Calls return it as
// *Error.
type Error struct {
	Code    string // errorCode, "SO1100"; "" when only the SAML status refuses
	Message string // errorMessage, errorDetail and suggestedAction are for an operator and must not be shown
	Detail  string
	Action  string
	// Consumer is consumerMessage: plain text that may be shown as it is, in
	// the language of the transaction; "" if none. See ConsumerMessage.
	Consumer string
	SAML     SAMLStatus // of the container that comes with AP3000
}

// A SAMLStatus is both levels of a status without the prefix of their URIs:
// "Requester", "RequestDenied". Empty where there was none.
type SAMLStatus struct{ First, Second, Message string }

// Error names the codes. The other texts may repeat what was sent.
func (e Error) Error() string {
	text := "iDIN answers "
	if e.Code != "" {
		text += e.Code + " "
	}
	if e.SAML.First != "" {
		text += "SAML status " + e.SAML.String()
	}
	return strings.TrimSpace(text)
}

// A Retry says what may help after an Error (§10.3).
type Retry uint8

const (
	RetryNever     Retry = iota // not without a change on our side
	RetryLater                  // the same, some time later
	RetryElsewhere              // later, or with another bank at once
	RetryDirectory              // after the directory has been fetched anew
)

// Retry classes the code; an unknown one is RetryNever.
func (e Error) Retry() Retry {
	switch {
	case e.Code == "SO1100":
		return RetryElsewhere
	case e.Code == "AP1200":
		return RetryDirectory
	case strings.HasPrefix(e.Code, "SO"):
		return RetryLater
	}
	return RetryNever
}

// ConsumerMessage is a text of ours for an errorCode without consumerMessage,
// in Dutch for "nl" and in English for every other language (§10.3).
func ConsumerMessage(code, lang string) string {
	bank := strings.HasPrefix(code, "SO") || code == "AP1200"
	switch {
	case bank && lang == "nl":
		return "De gekozen bank is op dit moment niet bereikbaar. Probeer het later opnieuw of kies een andere bank."
	case bank:
		return "The chosen bank cannot be reached at the moment. Try again later or choose another bank."
	case lang == "nl":
		return "Identificeren met iDIN lukt nu niet. Probeer het later opnieuw of gebruik een andere manier."
	}
	return "Identification with iDIN is not possible right now. Try again later or use another method."
}

// A Reason names what an answer was refused for. Those of XML and its
// signatures have the names of the kinds that the notes on xmldsig list.
type Reason string

// Reasons beside those of XML, in the order in which they are looked at (§15).
const (
	ReasonRoot        Reason = "root"        // another message than the one asked for
	ReasonVersion     Reason = "version"     // of iDx
	ReasonShape       Reason = "shape"       // a required element is missing or there twice
	ReasonTime        Reason = "time"        // a time stamp that is none
	ReasonStale       Reason = "stale"       // made more than 5 min before or after now
	ReasonAcquirer    Reason = "acquirer"    // of another acquirer
	ReasonTransaction Reason = "transaction" // of another transaction, or no transactionID
	ReasonURL         Reason = "url"         // issuerAuthenticationURL that must not be opened
	ReasonStatus      Reason = "status"      // a status that is not known
	ReasonRequest     Reason = "request"     // InResponseTo is not our reference
	ReasonAssertion   Reason = "assertion"   // more than one assertion, or one elsewhere
	ReasonPin         Reason = "pin"         // a key that is not pinned for this bank
	ReasonIssuer      Reason = "issuer"      // of another bank
	ReasonEarly       Reason = "early"       // not valid yet
	ReasonLate        Reason = "late"        // not valid any more
	ReasonAudience    Reason = "audience"    // for another merchant
	ReasonLevel       Reason = "level"       // another level of assurance than loa3
	ReasonDelivered   Reason = "delivered"   // no deliveredserviceid, or no number
	ReasonDecrypt     Reason = "decrypt"     // whatever went wrong: to tell would help an attacker
	ReasonSubject     Reason = "subject"     // no NameID, or a transient one for a BIN
	ReasonAttribute   Reason = "attribute"   // an attribute that cannot be read
	ReasonDuplicate   Reason = "duplicate"   // an attribute that is there twice
)

// A RefusedError is an answer that must not be believed. It holds nothing of
// what the answer says.
type RefusedError struct {
	Part   Part
	Reason Reason
	Err    error // what the XML says of it; nil if Reason says it all
}

// A Part is where in an answer something was found.
type Part string

const (
	Message   Part = "message"   // the iDx message
	Assertion Part = "assertion" // the bank's part of it
	Contents  Part = "contents"  // what was encrypted
)

func (e *RefusedError) Error() string {
	text := "iDIN answer refused: " + string(e.Reason) + " of the " + string(e.Part)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *RefusedError) Unwrap() error { return e.Err }

func refused(part Part, reason Reason) error { return &RefusedError{Part: part, Reason: reason} }

// refusedXML names what the XML is refused for as internal/xmldsig does.
func refusedXML(part Part, err error) error {
	reason := Reason("malformed")
	if x, ok := errors.AsType[*xmldsig.Error](err); ok {
		reason = Reason(x.Kind)
	}
	return &RefusedError{Part: part, Reason: reason, Err: err}
}

var errorCode = regexp.MustCompile(`^[A-Z]{2}[0-9]{4}$`)

// plainWord is what a code looks like. Nothing else gets into an error's text,
// and so into logs.
var plainWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,63}$`)

func plain(s string) string {
	if !plainWord.MatchString(s) {
		return "-"
	}
	return s
}
