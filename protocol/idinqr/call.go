package idinqr

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
)

// MaxCall bounds the body of a Call. A server that reads bodies on its own must
// not read more.
const MaxCall = 16 << 10

// ErrCall means that a call cannot be read, though its hash may fit.
var ErrCall = errors.New("not a call of the iDIN QR back-end")

// A Call is the back-end's request for a transaction: somebody has scanned a
// code and chosen a bank (§5).
type Call struct {
	ID     string // qr_id, as Generated.ID
	Issuer string // BIC of the chosen bank
	Token  string // merchant_token; "" if it is not sent
}

var (
	plainID  = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)
	plainBIC = regexp.MustCompile(`^[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3})?$`)
)

// Peek reads a call whose hash nobody has verified: only to find whose it is,
// and so which key it must fit.
func Peek(body []byte) (Call, error) { return parseCall(body) }

// ReadCall verifies a call and reads it. hash is the value of HashHeader. The
// error is ErrHash or ErrCall.
func ReadCall(body []byte, hash string, key Key) (Call, error) {
	if err := key.Verify(body, hash); err != nil {
		return Call{}, err
	}
	return parseCall(body)
}

// parseCall takes both spellings of the names that no public source fixes, and
// ignores members that it does not know (§5). A name that is there twice, in
// one spelling or in both, is refused: readers would differ over which counts.
func parseCall(body []byte) (Call, error) {
	var c Call
	d := json.NewDecoder(bytes.NewReader(body))
	if len(body) > MaxCall || !next(d, json.Delim('{')) {
		return Call{}, ErrCall
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return Call{}, ErrCall
		}
		var into *string
		switch name {
		case "qr_id", "qrId":
			into = &c.ID
		case "issuer_id", "issuerId":
			into = &c.Issuer
		case "merchant_token", "merchantToken":
			into = &c.Token
		}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return Call{}, ErrCall
		}
		if into != nil && (*into != "" || json.Unmarshal(raw, into) != nil || *into == "") {
			return Call{}, ErrCall
		}
	}
	if !next(d, json.Delim('}')) || d.More() || strings.TrimSpace(string(body[d.InputOffset():])) != "" {
		return Call{}, ErrCall
	}
	if !plainID.MatchString(c.ID) || !plainBIC.MatchString(c.Issuer) || len(c.Token) > 64 {
		return Call{}, ErrCall
	}
	return c, nil
}

func next(d *json.Decoder, want json.Delim) bool {
	t, err := d.Token()
	return err == nil && t == want
}

// Answer is the body that answers a call with a transaction, for status 200:
// issuerAuthenticationURL and transactionID of iDIN (§5).
func Answer(issuerURL, transactionID string) []byte {
	return encode(struct {
		URL string `json:"issuer_authentication_url"`
		ID  string `json:"transaction_id"`
	}{issuerURL, transactionID})
}

// Refusal is the body that answers a call without a transaction, for a status
// of 400 or more (§5). The text must not be personal.
func Refusal(text string) []byte {
	return encode(struct {
		Error string `json:"error"`
	}{text})
}

func encode(v any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // an address keeps its ampersands readable
	if err := e.Encode(v); err != nil {
		panic(err) // two strings
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
