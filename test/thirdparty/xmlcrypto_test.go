package thirdparty

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"

	"eidgate/internal/xmldsig"
	"eidgate/test/rig"
)

// documents is how many altered documents both libraries judge, and seed what
// they are made from.
const (
	documents = 10000
	seed      = 20300102
)

// stricter says for which kinds of refusal we may be alone, and why. Digest and
// Signature are not among them: there, both must say the same.
var stricter = map[xmldsig.Kind]string{
	xmldsig.Doctype:     "document types are not accepted",
	xmldsig.Comment:     "comments are not accepted",
	xmldsig.CDATA:       "CDATA sections are not accepted",
	xmldsig.Instruction: "processing instructions are not accepted",
	xmldsig.Malformed:   "what xmldom lets pass: undeclared prefixes, names beyond ASCII, relative namespaces and the like",
	xmldsig.Encoding:    "a declaration that says another encoding or version",
	xmldsig.IDs:         "an id that stands twice, though nothing refers to it",
	xmldsig.Signatures:  "a further signature below the element",
	xmldsig.Structure:   "a signature of another shape: Object, KeyValue, Type, attributes",
	xmldsig.Key:         "a KeyInfo that names no known key",
}

// A verdict is one line of xmlcrypto/verify.mjs.
type verdict struct{ Octets, Refused string }

// A question is a document, whose signed element stands at a path of element
// numbers.
type question struct {
	Doc  string `json:"doc"`
	Cert string `json:"cert"`
	At   string `json:"at"`

	ours *etree.Element // nil if we refuse
	err  error
	done []string // what was altered
}

// TestXMLCrypto lets the npm package xml-crypto judge the documents that we judge.
// Whatever it refuses, we must refuse.
func TestXMLCrypto(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	var both, neither, alone int
	classes := map[xmldsig.Kind]int{}
	for q, theirs := range judge(t, s.questions(t)) {
		switch accepted := theirs.Refused == ""; {
		case q.err == nil && !accepted:
			t.Errorf("we alone accept (%s; they: %s)\n%s", q.done, theirs.Refused, q.Doc)
		case q.err == nil:
			both++
			d, err := xmldsig.Parse([]byte(theirs.Octets), xmldsig.Limits{})
			if err != nil {
				t.Errorf("what they verified is refused (%s): %v", q.done, err)
			} else if !slices.Equal(flat(d.Root()), flat(q.ours)) {
				t.Errorf("they verified another element (%s)", q.done)
			}
		case !accepted:
			neither++
		default:
			alone++
			e, ok := errors.AsType[*xmldsig.Error](q.err)
			if !ok || stricter[e.Kind] == "" {
				t.Errorf("they alone accept (%s; we: %v)\n%s", q.done, q.err, q.Doc)
				continue
			}
			classes[e.Kind]++
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("both accept %d, both refuse %d, we alone refuse %d: %v", both, neither, alone, classes)
	if both < documents/10 || neither < documents/4 || both+neither+alone != documents {
		t.Errorf("both accept %d, both refuse %d, we alone refuse %d: too few to mean something", both, neither, alone)
	}
}

// unsigned is what is signed before it is altered: iDIN's shape, with what is hard
// about canonical form.
const unsigned = `<Answer xmlns="urn:test:answer" xmlns:b="urn:1" xmlns:a="urn:2" version="1" a:one="" b:two="1&#10;2&#13;&#9;&quot;&lt;"><id>1</id>` +
	`<status>Success</status><note>&lt;a&gt; &amp; "q" 'q' é 😀&#13;
	</note><empty/><container><samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="RES-1">` +
	`<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="VS-1"><saml:Issuer>BANK</saml:Issuer>` +
	`<saml:Subject><saml:NameID Format="a&#xA;b">anna</saml:NameID></saml:Subject><saml:AttributeValue ` +
	`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xsi:type="xsd:string">20480` +
	`</saml:AttributeValue><plain xmlns=""><a:x/></plain></saml:Assertion></samlp:Response></container></Answer>`

// signers sign with the key of iDIN's vectors, so that the documents are the same
// ones at each run.
type signers struct{ outer, inner xmldsig.Signer }

func newSigners(t *testing.T) signers {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile("../../internal/xmldsig/testdata/idin/" + name)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(b)
		return block.Bytes
	}
	key, err := x509.ParsePKCS8PrivateKey(read("merchant.key"))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(read("merchant.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return signers{
		outer: xmldsig.Signer{Key: key.(*rsa.PrivateKey), Certificate: cert, KeyName: true},
		inner: xmldsig.Signer{Key: key.(*rsa.PrivateKey), Certificate: cert, Prefix: "ds", Inclusive: "xsd"},
	}
}

// questions makes altered documents of three shapes in turn: a document that is
// signed as a whole and holds a signed assertion, a document that is one, and a
// document that is signed after its assertion was altered.
func (s signers) questions(t *testing.T) iter.Seq[*question] {
	whole := s.sign(t, true)
	inside := s.sign(t, false)
	only := inside.FindElement(".//Assertion").Copy()
	only.CreateAttr("xmlns:a", "urn:2")
	return func(yield func(*question) bool) {
		for n := range documents {
			a := alterer{rand.New(rand.NewPCG(seed, uint64(n)))} //nolint:gosec // repeatable on purpose
			q := &question{Cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.outer.Certificate.Raw}))}
			switch n % 3 {
			case 0:
				s.plain(t, q, a, whole.Copy())
			case 1:
				s.plain(t, q, a, only.Copy())
			case 2:
				s.resigned(t, q, a, inside.Copy())
			}
			if !yield(q) {
				return
			}
		}
	}
}

// sign gives a signed tree of unsigned, with the outer signature or without.
func (s signers) sign(t *testing.T, outer bool) *etree.Element {
	d, err := xmldsig.Parse([]byte(unsigned), xmldsig.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.inner.SignAt(d.FindElement("//Assertion"), 1, "VS-1")
	if err == nil && outer {
		err = s.outer.Sign(d.Root())
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.Root()
}

// plain alters a signed document.
func (s signers) plain(t *testing.T, q *question, a alterer, root *etree.Element) {
	changes := 1 + a.IntN(3)
	ofTree := a.IntN(changes + 1)
	for range ofTree {
		q.alter(a, root)
	}
	q.Doc = s.text(t, root)
	for range changes - ofTree {
		change := oneOf(a, texts)
		q.done = append(q.done, change.name)
		q.Doc = change.change(a, q.Doc)
	}
	signed, err := xmldsig.Verify([]byte(q.Doc), xmldsig.Limits{}, s.rule(1))
	if q.err = err; err == nil {
		q.ours = signed.Root
	}
}

// resigned alters the assertion, and signs the whole.
func (s signers) resigned(t *testing.T, q *question, a alterer, root *etree.Element) {
	assertion := root.FindElement(".//Assertion")
	for range 1 + a.IntN(2) {
		q.alter(a, assertion)
	}
	if q.err = s.outer.Sign(root); q.err != nil { // an undeclared prefix
		q.Doc = s.text(t, root)
		return
	}
	var path []string
	for el := assertion; el != root; el = el.Parent() {
		path = append(path, strconv.Itoa(slices.Index(el.Parent().ChildElements(), el)))
	}
	slices.Reverse(path)
	q.At, q.Doc = strings.Join(path, "/"), s.text(t, root)
	signed, err := xmldsig.Verify([]byte(q.Doc), xmldsig.Limits{}, s.rule(1))
	if err == nil {
		signed, err = signed.VerifyElement(signed.Root.FindElement("./container/Response").ChildElements()[0], s.rule(0))
	}
	if q.err = err; err == nil {
		q.ours = signed.Root
	}
}

func (q *question) alter(a alterer, root *etree.Element) {
	change := oneOf(a, trees)
	q.done = append(q.done, change.name)
	change.change(a, root)
}

func (signers) text(t *testing.T, root *etree.Element) string {
	b, err := xmldsig.Bytes(root)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rule trusts the one certificate that both are told, if the signature names it.
func (s signers) rule(others int) xmldsig.Rule {
	cert := s.outer.Certificate
	return xmldsig.Rule{Others: others, Select: func(k xmldsig.KeyInfo) (*x509.Certificate, error) {
		if slices.Contains(k.Names, xmldsig.Fingerprint(cert)) || slices.ContainsFunc(k.Certificates, cert.Equal) {
			return cert, nil
		}
		return nil, errors.New("unknown key")
	}}
}

// ahead is how many documents are made while one is judged.
const ahead = 64

// judge asks xml-crypto, in one process, for its verdicts.
func judge(t *testing.T, questions iter.Seq[*question]) iter.Seq2[*question, verdict] {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "node", "verify.mjs")
	cmd.Dir = rig.NPM(ctx, t, "xmlcrypto", "verify.mjs")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	read := func() (v verdict) {
		line, err := answers.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &v)
		}
		if err != nil {
			t.Fatalf("no verdict: %v, %v\n%s", err, cmd.Wait(), &stderr)
		}
		return v
	}
	return func(yield func(*question, verdict) bool) {
		ask := make(chan *question, ahead)
		end := sync.OnceFunc(func() { close(ask) })
		defer end()
		go func() {
			defer in.Close()
			lines := json.NewEncoder(in)
			for q := range ask {
				_ = lines.Encode(q) // a process that has ended gives no verdict, below
			}
		}()
		var asked []*question
		for q := range questions {
			ask <- q
			if asked = append(asked, q); len(asked) <= ahead {
				continue
			}
			if !yield(asked[0], read()) {
				return
			}
			asked = asked[1:]
		}
		end()
		for _, q := range asked {
			if !yield(q, read()) {
				return
			}
		}
		if err := cmd.Wait(); err != nil { // its parser's warnings are on stderr
			t.Errorf("verify.mjs ended with %v\n%s", err, &stderr)
		}
	}
}

// flat lists what a tree says.
func flat(el *etree.Element) []string {
	out := []string{"<" + el.FullTag()}
	for _, a := range el.Attr {
		out = append(out, a.FullKey()+"="+a.Value)
	}
	for _, c := range el.Child {
		switch c := c.(type) {
		case *etree.Element:
			out = append(out, flat(c)...)
		case *etree.CharData:
			out = append(out, c.Data)
		default:
			out = append(out, fmt.Sprintf("%T", c))
		}
	}
	return append(out, ">")
}
