package natid

import "strings"

// centuriesFI: the sign tells the century and belongs to the number: two people
// may differ in nothing else (§6).
var centuriesFI = map[byte]int{
	'+': 1800,
	'-': 1900, 'Y': 1900, 'X': 1900, 'W': 1900, 'V': 1900, 'U': 1900,
	'A': 2000, 'B': 2000, 'C': 2000, 'D': 2000, 'E': 2000, 'F': 2000,
}

const checkFI = "0123456789ABCDEFHJKLMNPRSTUVWXY"

// parseFI reads DDMMYYcZZZQ.
func parseFI(s string, today Date) (Info, error) {
	s = strings.ToUpper(s)
	if len(s) != 11 {
		return Info{}, ErrFormat
	}
	base, ok := centuriesFI[s[6]]
	day, okDay := digits(s[:6], 6, "")
	serial, okSerial := digits(s[7:10], 3, "")
	q := s[10]
	if !ok || !okDay || !okSerial || q > 'Y' || q < '0' || '9' < q && q < 'A' {
		return Info{}, ErrFormat
	}
	d, m, y := num(day[:2]), num(day[2:4]), base+num(day[4:])
	if !real(y, m, d) {
		return Info{}, ErrDate
	}
	return Info{
		Kind:       "hetu",
		Normalized: s,
		BirthDate:  known(date(y, m, d), today),
		Gender:     genderOf(num(serial)),
		Synthetic:  serial[0] == '9',
		ChecksumOK: checkFI[num(day+serial)%31] == q,
	}, nil
}
