// Package xmldsig reads signed and encrypted XML of one narrow profile, and
// writes it. Most holes of SAML libraries are of one kind: what was verified and
// what is read are not the same. So there is one way through here: a strict
// parser that refuses what parsers are known to read differently, a signature of
// exactly one shape at exactly one place, and a result that is rebuilt from the
// octets that were digested. Whoever calls reads that and nothing else.
//
// What is accepted, and why so little, is in docs/protocols/xmldsig.md.
package xmldsig
