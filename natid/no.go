package natid

// A century is a range of individual numbers and two-digit years whose bearers
// were born in the hundred years that begin with base.
type century struct{ fromID, toID, fromYY, toYY, base int }

var (
	centuriesNO = []century{
		{500, 749, 54, 99, 1800},
		{0, 499, 0, 99, 1900},
		{900, 999, 40, 99, 1900},
		{500, 999, 0, 39, 2000},
	}
	// D numbers have a table of their own, extended in November 2021.
	centuriesD = []century{
		{500, 599, 58, 99, 1800},
		{0, 199, 0, 39, 1900},
		{0, 499, 40, 99, 1900},
		{600, 999, 40, 99, 1900},
		{200, 999, 0, 39, 2000},
	}
)

// shiftsNO: what is added to the month, and by whom.
var shiftsNO = []struct {
	add       int
	kind      string // "" leaves it
	synthetic bool
}{
	{0, "", false},
	{40, "hnr", false}, // also a test population of the welfare agency: cannot be told apart
	{65, "", true},     // health network's test persons
	{80, "", true},     // tax agency's test persons
}

// parseNO reads DDMMYYiiikk (§3).
func parseNO(s string, today Date) (Info, error) {
	n, ok := digits(s, 11, " -", 6)
	if !ok {
		return Info{}, ErrFormat
	}
	first := (weigh(n, 3, 7, 6, 1, 8, 9, 4, 5, 2) + num(n[9:10])) % 11
	second := (weigh(n, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2) + num(n[10:])) % 11
	info := Info{
		Kind:       "fnr",
		Normalized: n,
		Gender:     genderOf(num(n[8:9])),
		ChecksumOK: first <= 3 && second == 0, // 1 to 3: numbers of the 2032 rule
		Uncertain:  first != 0,
	}
	day, month := num(n[:2]), num(n[2:4])
	if day >= 80 { // help number of the health services: no date in it
		info.Kind, info.Gender = "fhnr", ""
		return info, nil
	}
	table := centuriesNO
	if day > 40 {
		info.Kind, table = "dnr", centuriesD
		day -= 40
	}
	for _, shift := range shiftsNO {
		m := month - shift.add
		if m < 1 || m > 12 {
			continue
		}
		if shift.kind != "" && info.Kind == "fnr" {
			info.Kind = shift.kind
		}
		info.Synthetic = shift.synthetic
		var err error
		info.BirthDate, err = birthNO(table, num(n[6:9]), num(n[4:6]), m, day, today)
		return info, err
	}
	return Info{}, ErrDate
}

func birthNO(table []century, id, yy, m, d int, today Date) (Date, error) {
	for _, c := range table {
		if id < c.fromID || id > c.toID || yy < c.fromYY || yy > c.toYY {
			continue
		}
		if !real(c.base+yy, m, d) {
			return Date{}, ErrDate
		}
		return known(date(c.base+yy, m, d), today), nil
	}
	if !real(someLeapYear(yy), m, d) {
		return Date{}, ErrDate
	}
	return Date{}, nil // a combination that was never given out
}
