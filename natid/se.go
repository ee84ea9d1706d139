package natid

import "strings"

// Numbers exist since 1947, for the oldest people of then too; a lower year is
// the prefix of an organisation or an error.
const firstYearSE = 1800

// interimLetters may stand in place of the first of the last four (§2).
const interimLetters = "TRSUWXJKLMN"

func parseSE(s string, today Date) (Info, error) { return swedish(s, today, "") }

func parseInterim(s string, today Date) (Info, error) {
	return swedish(s, today, interimLetters)
}

// swedish reads YYYYMMDDNNNC or YYMMDD±NNNC; letters are those accepted in
// place of the first N.
func swedish(s string, today Date, letters string) (Info, error) {
	s, letter := takeLetter(strings.ToUpper(s), letters)
	n, ok := digits(s, 12, "-", 8)
	if !ok {
		n, ok = twoDigitYear(s, today)
	}
	if !ok {
		return Info{}, ErrFormat
	}
	info := Info{
		Kind:       "personnummer",
		Normalized: n,
		Gender:     genderOf(num(n[10:11])),
		ChecksumOK: luhn(n[2:]),
	}
	var err error
	if num(n[6:8]) >= 60 {
		info.Kind = "samordningsnummer"
		info.BirthDate, err = coordinationDate(n)
	} else {
		info.BirthDate, err = personDate(n)
	}
	if err != nil || info.BirthDate.after(today) {
		return Info{}, ErrDate
	}
	if letter != 0 {
		info.Kind = "interim"
		info.Normalized = n[:8] + string(letter) + n[9:]
	}
	return info, nil
}

// takeLetter replaces an interim number's letter, the fourth character from the
// end, by the 1 for which it counts in the check digit.
func takeLetter(s, letters string) (string, byte) {
	i := len(s) - 4
	if i < 0 || strings.IndexByte(letters, s[i]) < 0 {
		return s, 0
	}
	return s[:i] + "1" + s[i+1:], s[i]
}

// twoDigitYear completes the century of YYMMDDNNNC: the last year with these
// digits that is not yet to come; with "+", the last a hundred years back.
func twoDigitYear(s string, today Date) (string, bool) {
	n, ok := digits(s, 10, "-+", 6)
	if !ok {
		return "", false
	}
	base := today.Year
	if len(s) > 6 && s[6] == '+' {
		base -= 100
	}
	year := base - ((base-num(n[:2]))%100+100)%100
	century := year / 100
	if century < 10 || century > 99 {
		return "", false
	}
	return string([]byte{'0' + byte(century/10), '0' + byte(century%10)}) + n, true
}

func personDate(n string) (Date, error) {
	y, m, d := num(n[:4]), num(n[4:6]), num(n[6:8])
	if y < firstYearSE || !real(y, m, d) {
		return Date{}, ErrDate
	}
	return date(y, m, d), nil
}

// coordinationDate checks ranges only: month 00 and day 60 mean unknown, and
// official numbers with days that the month does not have exist. Then only the
// year is told.
func coordinationDate(n string) (Date, error) {
	y, m, d := num(n[:4]), num(n[4:6]), num(n[6:8])-60
	if y < firstYearSE || m > 12 || d > 31 {
		return Date{}, ErrDate
	}
	if !real(y, m, d) {
		return Date{Year: y}, nil
	}
	return date(y, m, d), nil
}

// luhn doubles every second digit from the left, beginning with the first.
func luhn(s string) bool {
	sum := 0
	for i := range len(s) {
		n := int(s[i]-'0') * (2 - i%2)
		sum += n/10 + n%10
	}
	return sum%10 == 0
}
