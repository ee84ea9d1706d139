package natid

// parseDK reads DDMMYYSSSS (§4). The old check digit is missing from many
// genuine numbers.
func parseDK(s string, today Date) (Info, error) {
	n, ok := digits(s, 10, "-", 6)
	if !ok {
		return Info{}, ErrFormat
	}
	info := Info{
		Kind:       "cpr",
		Normalized: n,
		Gender:     genderOf(num(n[9:])),
		ChecksumOK: weigh(n, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)%11 == 0,
	}
	day, month, year := num(n[:2]), num(n[2:4]), yearDK(num(n[6:7]), num(n[4:6]))
	if day > 60 { // given out locally to people without a number
		info.Kind = "cpr-replacement"
		day -= 60
	}
	if !real(year, month, day) {
		return Info{}, ErrDate
	}
	info.BirthDate = known(date(year, month, day), today)
	return info, nil
}

// yearDK completes the year by the seventh digit.
func yearDK(seventh, yy int) int {
	switch {
	case seventh <= 3:
		return 1900 + yy
	case seventh == 4 || seventh == 9:
		if yy <= 36 {
			return 2000 + yy
		}
		return 1900 + yy
	case yy <= 57:
		return 2000 + yy
	}
	return 1800 + yy
}
