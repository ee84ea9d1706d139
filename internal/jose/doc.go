// Package jose signs, encrypts and reads JSON web tokens of closed sets of
// algorithms. The provider (api/oidc) and our client of other providers use it
// alike. Most holes of JOSE libraries come from three liberties: the token says
// how it is to be checked, one text has two readings, and one kind of token
// passes for another. So here the caller names algorithms, type and keys; a
// message has one reading or none; and nothing can be read of a token before
// its signature was checked.
//
// Only the compact form exists here: three parts when signed, five when
// encrypted, and what is encrypted must be signed inside. There is no "none", no
// HMAC, no RSA1_5, no SHA-1 signature, no password, no compression, no "crit".
//
// Signatures and keys are our own reading over the standard library, so that
// what is verified is what was read; encryption is go-jose's
// (docs/decisions/0012-own-jws.md). What is accepted is told in
// docs/protocols/oidc.md; § in comments refers to that file.
package jose
