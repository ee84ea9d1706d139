package natid

// parseBE reads YYMMDDNNNCC (§5). The check digits also tell the century; when
// they are wrong, the year is unknown.
func parseBE(s string, today Date) (Info, error) {
	n, ok := digits(s, 11, ".-/ ", 2, 4, 6, 9)
	if !ok {
		return Info{}, ErrFormat
	}
	yy, month, day, serial := num(n[:2]), num(n[2:4]), num(n[4:6]), num(n[6:9])
	info := Info{
		Kind:       "nrn",
		Normalized: n,
		Gender:     genderOf(serial),
		Synthetic:  serial == 0 || serial == 999, // never given out; our own convention for test persons
	}
	switch {
	case month >= 40: // not in the national register, sex known
		info.Kind, month = "bis", month-40
	case month >= 20: // sex not known when the number was given
		info.Kind, month, info.Gender = "bis", month-20, ""
	}
	base := centuryBE(n)
	info.ChecksumOK = base != 0
	var err error
	info.BirthDate, err = birthBE(base, yy, month, day, today)
	if err != nil {
		return Info{}, err
	}
	return info, nil
}

// centuryBE is 1900 or 2000, whichever makes the check digits right, or 0.
func centuryBE(n string) int {
	body, check := num(n[:9]), num(n[9:])
	switch check {
	case 97 - body%97:
		return 1900
	case 97 - (2_000_000_000+body)%97:
		return 2000
	}
	return 0
}

// birthBE reads zeros as unknown: month and day when a day's serials were used
// up, everything when the birth date is not known.
func birthBE(base, yy, m, d int, today Date) (Date, error) {
	if m > 12 || d > 31 {
		return Date{}, ErrDate
	}
	if m == 0 || d == 0 {
		if base == 0 || yy == 0 && m == 0 {
			return Date{}, nil
		}
		return known(Date{Year: base + yy}, today), nil
	}
	if base == 0 {
		if !real(someLeapYear(yy), m, d) {
			return Date{}, ErrDate
		}
		return Date{}, nil
	}
	if !real(base+yy, m, d) {
		return Date{}, ErrDate
	}
	return known(date(base+yy, m, d), today), nil
}
