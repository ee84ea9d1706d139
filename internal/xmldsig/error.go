package xmldsig

// A Kind names one reason of refusal. It is safe to log and to count.
type Kind string

// The kinds (docs/protocols/xmldsig.md §7).
const (
	Size        Kind = "size"        // more octets than the limit
	Depth       Kind = "depth"       // nested deeper than the limit
	Elements    Kind = "elements"    // more elements than the limit
	Attributes  Kind = "attributes"  // more attributes of one element than the limit
	Namespaces  Kind = "namespaces"  // more declarations of one element than the limit
	Encoding    Kind = "encoding"    // not UTF-8, or declared as something else
	Doctype     Kind = "doctype"     // a directive
	Entity      Kind = "entity"      // a reference that only a DTD could explain
	Instruction Kind = "instruction" // a processing instruction
	Comment     Kind = "comment"     // a comment
	CDATA       Kind = "cdata"       // a CDATA section
	Malformed   Kind = "malformed"   // not well-formed, names and namespaces included
	IDs         Kind = "ids"         // two elements or attributes with one id

	NoSignature Kind = "no_signature" // nothing signed where the protocol prescribes it
	Signatures  Kind = "signatures"   // another number of signatures than expected
	Structure   Kind = "structure"    // a signature of another shape than the one that is accepted
	Reference   Kind = "reference"    // not exactly one reference, or not to the element that is read
	Transform   Kind = "transform"    // other transforms than enveloped and exclusive C14N
	Algorithm   Kind = "algorithm"    // any other algorithm
	Key         Kind = "key"          // no acceptable certificate is configured for what the signature names
	Expired     Kind = "expired"      // the certificate is not valid at that time
	Signature   Kind = "signature"    // the signature value is wrong
	Digest      Kind = "digest"       // the signed element was altered

	Decryption Kind = "decrypt" // whatever went wrong once a key was used
)

// An Error says why a document was refused. Its text never quotes the
// document. Err is the reason that [Rule.Select] gave, if that refused.
type Error struct {
	Kind   Kind
	Detail string
	Err    error
}

func (e *Error) Error() string {
	s := "xml: " + string(e.Kind)
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
