// Package natid reads the national identity numbers of Sweden, Norway,
// Denmark, Belgium, Finland and the Netherlands: shape, date, check digit and
// what can be derived from them. docs/personal-numbers.md describes the rules;
// § in comments refers to that file.
//
// It refuses only what has the wrong shape or an impossible date. A wrong check
// digit is reported and never refuses: genuine numbers without one exist (§1).
// Whatever is derived is a hint; a birth date that an eID states itself wins.
package natid

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Parse refuses with exactly these; neither says anything about the number.
var (
	ErrCountry = errors.New("natid: unknown country")
	ErrFormat  = errors.New("natid: not in the form of the country's numbers")
	ErrDate    = errors.New("natid: impossible date")
)

// An Info is what a number says. Logs and error texts show its country and
// kind alone.
type Info struct {
	Country    string // ISO 3166-1 alpha-2: "SE"
	Kind       string // personnummer, samordningsnummer, interim, fnr, dnr, hnr, fhnr, cpr, cpr-replacement, nrn, bis, hetu or bsn
	Normalized string // the one form to store and compare
	BirthDate  Date   // as far as the number tells it
	Gender     string // "M", "F" or "" where the number does not tell
	Synthetic  bool   // has a form that is given to test persons only
	ChecksumOK bool
	Uncertain  bool // birth date and gender may mean nothing (Norwegian numbers of the 2032 rule, §3)
}

func (i Info) String() string { return strings.TrimSpace(i.Country + " " + i.Kind) }

// LogValue shows what sort of number it is, never which.
func (i Info) LogValue() slog.Value { return slog.StringValue(i.String()) }

// AgeAt is the age in full years at t, on the calendar of the number's country;
// not ok when the number does not tell it reliably. An unknown age must never
// pass an age check.
func (i Info) AgeAt(t time.Time) (years int, ok bool) {
	if i.Uncertain {
		return 0, false
	}
	return AgeAt(i.Country, i.BirthDate, t)
}

// Parse reads a number of a country, in any of the ways in which people write
// it (§1). now decides the century of Swedish two-digit years and which dates
// lie in the future.
func Parse(country, s string, now time.Time) (Info, error) {
	parse, ok := countries[country]
	if !ok {
		return Info{}, ErrCountry
	}
	return finish(country, s, now, parse)
}

// ParseInterim reads a Swedish number that may have a letter in place of its
// ninth digit, as schools and care give out until there is a real one (§2). No
// eID knows such numbers, so Parse refuses them.
func ParseInterim(s string, now time.Time) (Info, error) {
	return finish("SE", s, now, parseInterim)
}

// A parser gets a cleaned number and the date of today in its country.
type parser func(s string, today Date) (Info, error)

var countries = map[string]parser{
	"SE": parseSE, "NO": parseNO, "DK": parseDK, "BE": parseBE, "FI": parseFI, "NL": parseNL,
}

// maxInput bounds what is looked at; the longest written form has 15 characters.
const maxInput = 64

func finish(country, s string, now time.Time, parse parser) (Info, error) {
	if len(s) > maxInput {
		return Info{}, ErrFormat
	}
	s = clean(s)
	if strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) { // some have a capital that is ASCII
		return Info{}, ErrFormat
	}
	info, err := parse(s, today(country, now))
	if err != nil {
		return Info{}, err
	}
	info.Country = country
	return info, nil
}

// clean drops surrounding blanks and writes every dash as "-", every blank as " ".
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Pd, r), r == '\u2212':
			return '-'
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
}

// digits returns the n digits of s. Between them, one character of seps may
// stand after each count in at; nothing else is accepted.
func digits(s string, n int, seps string, at ...int) (string, bool) {
	var out []byte
	separated := false
	for i := range len(s) {
		c := s[i]
		if '0' <= c && c <= '9' {
			out = append(out, c)
			separated = false
			continue
		}
		if separated || strings.IndexByte(seps, c) < 0 || !slices.Contains(at, len(out)) {
			return "", false
		}
		separated = true
	}
	return string(out), len(out) == n && !separated
}

// num is the value of a string of digits.
func num(s string) int {
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// weigh sums the digits of s, each times its weight.
func weigh(s string, weights ...int) int {
	sum := 0
	for i, w := range weights {
		sum += w * int(s[i]-'0')
	}
	return sum
}

// genderOf reads an odd number as male.
func genderOf(n int) string {
	if n%2 == 1 {
		return "M"
	}
	return "F"
}
