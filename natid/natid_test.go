package natid_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"eidgate/natid"

	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// A vector says what a number must give; fields as in Info, birth as printed.
type vector struct {
	in, normalized, kind, birth, gender string
	ok, synthetic, uncertain            bool
}

var vectors = map[string][]vector{
	"SE": {
		{in: "8001022394", normalized: "198001022394", kind: "personnummer", birth: "1980-01-02", gender: "M", ok: true},
		{in: "800102-2394", normalized: "198001022394", kind: "personnummer", birth: "1980-01-02", gender: "M", ok: true},
		{in: "19800102-2394", normalized: "198001022394", kind: "personnummer", birth: "1980-01-02", gender: "M", ok: true},
		{in: " 800102\u22122394\u00a0", normalized: "198001022394", kind: "personnummer", birth: "1980-01-02", gender: "M", ok: true},
		{in: "890101+9802", normalized: "188901019802", kind: "personnummer", birth: "1889-01-01", gender: "F"},
		{in: "900101+9802", normalized: "189001019802", kind: "personnummer", birth: "1890-01-01", gender: "F", ok: true},
		{in: "189001019802", kind: "personnummer", birth: "1890-01-01", gender: "F", ok: true},
		{in: "195206040759", kind: "personnummer", birth: "1952-06-04", gender: "M", ok: true},
		{in: "198711260070", kind: "personnummer", birth: "1987-11-26", gender: "M"},
		{in: "198001022386", kind: "personnummer", birth: "1980-01-02", gender: "F", ok: true},
		{in: "195001182046", kind: "personnummer", birth: "1950-01-18", gender: "F", ok: true},
		{in: "200001012384", kind: "personnummer", birth: "2000-01-01", gender: "F", ok: true},
		{in: "200801012394", kind: "personnummer", birth: "2008-01-01", gender: "M", ok: true},
		{in: "201501012395", kind: "personnummer", birth: "2015-01-01", gender: "M", ok: true},
		{in: "198111309285", kind: "personnummer", birth: "1981-11-30", gender: "F", ok: true},
		{in: "195704133106", kind: "personnummer", birth: "1957-04-13", gender: "F", ok: true},
		{in: "199000702390", kind: "samordningsnummer", birth: "1990", gender: "M", ok: true},
		{in: "199001792382", kind: "samordningsnummer", birth: "1990-01-19", gender: "F", ok: true},
		{in: "191711602399", kind: "samordningsnummer", birth: "1917", gender: "M", ok: true},
		{in: "199012702396", kind: "samordningsnummer", birth: "1990-12-10", gender: "M", ok: true},
		{in: "199012912391", kind: "samordningsnummer", birth: "1990-12-31", gender: "M", ok: true},
		{in: "180001022391", kind: "personnummer", birth: "1800-01-02", gender: "M", ok: true},
		{in: "180001622398", kind: "samordningsnummer", birth: "1800-01-02", gender: "M", ok: true},
		{in: "202605152392", kind: "personnummer", birth: "2026-05-15", gender: "M", ok: true}, // a later day of an earlier month
		{in: "202606012397", kind: "personnummer", birth: "2026-06-01", gender: "M", ok: true}, // today
		{in: "199002912398", kind: "samordningsnummer", birth: "1990", gender: "M"},            // day 91 in February
	},
	"NO": {
		{in: "20036914700", kind: "fnr", birth: "1969-03-20", gender: "M", ok: true},
		{in: "200369 14700", normalized: "20036914700", kind: "fnr", birth: "1969-03-20", gender: "M", ok: true},
		{in: "200369-14700", normalized: "20036914700", kind: "fnr", birth: "1969-03-20", gender: "M", ok: true},
		{in: "30108299939", kind: "fnr", birth: "1982-10-30", gender: "M", ok: true, uncertain: true},
		{in: "30908299902", kind: "fnr", birth: "1982-10-30", gender: "M", ok: true, synthetic: true, uncertain: true},
		{in: "03851598730", kind: "fnr", birth: "2015-05-03", gender: "M", ok: true, synthetic: true},
		{in: "55102499947", kind: "dnr", birth: "2024-10-15", gender: "M", ok: true, uncertain: true},
		{in: "41819077302", kind: "dnr", birth: "1990-01-01", gender: "M", ok: true, synthetic: true},
		{in: "41819077906", kind: "dnr", birth: "1990-01-01", gender: "M", ok: true, synthetic: true, uncertain: true},
		{in: "20036914712", kind: "fnr", birth: "1969-03-20", gender: "M", uncertain: true},
		{in: "29020073150", kind: "fnr", birth: "2000-02-29", gender: "M", ok: true},
		{in: "02013299997", kind: "fnr", birth: "", gender: "M", ok: true}, // 2032 has yet to come
		{in: "30108299920", kind: "fnr", birth: "1982-10-30", gender: "M", ok: true},
		{in: "41814061033", kind: "dnr", birth: "1940-01-01", gender: "F", ok: true, synthetic: true},
		{in: "41814065640", kind: "dnr", birth: "1940-01-01", gender: "F", ok: true, synthetic: true},
		{in: "41814075603", kind: "dnr", birth: "1940-01-01", gender: "F", ok: true, synthetic: true},
		{in: "41810021827", kind: "dnr", birth: "2000-01-01", gender: "F", ok: true, synthetic: true},
		{in: "41810025091", kind: "dnr", birth: "2000-01-01", gender: "F", ok: true, synthetic: true},
		{in: "41810034422", kind: "dnr", birth: "2000-01-01", gender: "F", ok: true, synthetic: true},
		{in: "13097248022", kind: "fnr", birth: "1972-09-13", gender: "F", ok: true},
		{in: "29029648784", kind: "fnr", birth: "1996-02-29", gender: "M", ok: true},
		{in: "15021951940", kind: "fnr", birth: "2019-02-15", gender: "M", ok: true},
		{in: "53097248016", kind: "dnr", birth: "1972-09-13", gender: "F", ok: true},
		{in: "13527248013", kind: "hnr", birth: "1972-12-13", gender: "F", ok: true},
		{in: "10915596784", kind: "fnr", birth: "1955-11-10", gender: "M", ok: true, synthetic: true},
		{in: "01817010055", kind: "fnr", birth: "1970-01-01", gender: "F", ok: true, synthetic: true},
		{in: "01817010136", kind: "fnr", birth: "1970-01-01", gender: "M", ok: true, synthetic: true},
		{in: "15898540003", kind: "fnr", birth: "1985-09-15", gender: "F", ok: true, synthetic: true},
		{in: "41817010049", kind: "dnr", birth: "1970-01-01", gender: "F", ok: true, synthetic: true},
		{in: "01817010063", kind: "fnr", birth: "1970-01-01", gender: "F", ok: true, synthetic: true, uncertain: true},
		{in: "01817010144", kind: "fnr", birth: "1970-01-01", gender: "M", ok: true, synthetic: true, uncertain: true},
		{in: "01129955131", kind: "fnr", birth: "1899-12-01", gender: "M", uncertain: true},
		{in: "07025312345", kind: "fnr", birth: "1953-02-07", gender: "M", uncertain: true},
		{in: "20036914735", kind: "fnr", birth: "1969-03-20", gender: "M", ok: true, uncertain: true},
		{in: "20036914743", kind: "fnr", birth: "1969-03-20", gender: "M", uncertain: true}, // the 2032 rule knows 1 to 3
		{in: "80000000000", kind: "fhnr", uncertain: true},
	},
	"DK": {
		{in: "1210312133", kind: "cpr", birth: "1931-10-12", gender: "M", ok: true},
		{in: "121031-2133", normalized: "1210312133", kind: "cpr", birth: "1931-10-12", gender: "M", ok: true},
		{in: "2205943423", kind: "cpr", birth: "1994-05-22", gender: "M", ok: true},
		{in: "2504050258", kind: "cpr", birth: "1905-04-25", gender: "F"},
		{in: "1506093330", kind: "cpr", birth: "1909-06-15", gender: "F"},
		{in: "6101701234", kind: "cpr-replacement", birth: "1970-01-01", gender: "F"},
		{in: "0101364000", kind: "cpr", birth: "", gender: "F"}, // 2036 by table: yet to come
		{in: "0101374001", kind: "cpr", birth: "1937-01-01", gender: "M"},
		{in: "0101585001", kind: "cpr", birth: "1858-01-01", gender: "M"},
		{in: "0101575000", kind: "cpr", birth: "", gender: "F"}, // 2057 by table: yet to come
		{in: "0101579001", kind: "cpr", birth: "1957-01-01", gender: "M"},
		{in: "0101205000", kind: "cpr", birth: "2020-01-01", gender: "F"},
		{in: "0101209001", kind: "cpr", birth: "2020-01-01", gender: "M"},
	},
	"BE": {
		{in: "85073003328", kind: "nrn", birth: "1985-07-30", gender: "M", ok: true},
		{in: "85.07.30-033.28", normalized: "85073003328", kind: "nrn", birth: "1985-07-30", gender: "M", ok: true},
		{in: "85/07/30 033 28", normalized: "85073003328", kind: "nrn", birth: "1985-07-30", gender: "M", ok: true},
		{in: "17073003384", kind: "nrn", birth: "2017-07-30", gender: "M", ok: true},
		{in: "98472899765", kind: "bis", birth: "1998-07-28", gender: "M", ok: true},
		{in: "01490700185", kind: "bis", birth: "2001-09-07", gender: "M", ok: true},
		{in: "93051822361", kind: "nrn", birth: "1993-05-18", gender: "M", ok: true},
		{in: "85010100016", kind: "nrn", birth: "1985-01-01", gender: "F", ok: true, synthetic: true},
		{in: "85010199984", kind: "nrn", birth: "1985-01-01", gender: "M", ok: true, synthetic: true},
		{in: "08010199948", kind: "nrn", birth: "2008-01-01", gender: "M", ok: true, synthetic: true},
		{in: "85073003329", kind: "nrn", birth: "", gender: "M"}, // wrong check digits: century unknown
		{in: "00000100195", kind: "nrn", birth: "", gender: "M", ok: true},
		{in: "00200100160", kind: "bis", birth: "", gender: ""}, // neither century fits
		{in: "85400000127", kind: "bis", birth: "1985", gender: "M", ok: true},
		{in: "85123100165", kind: "nrn", birth: "1985-12-31", gender: "M", ok: true},
		{in: "85070000187", kind: "nrn", birth: "1985", gender: "M", ok: true}, // day unknown
		{in: "85000000138", kind: "nrn", birth: "1985", gender: "M", ok: true},
	},
	"FI": {
		{in: "131052-308T", kind: "hetu", birth: "1952-10-13", gender: "F", ok: true},
		{in: "131052\u2013308t", normalized: "131052-308T", kind: "hetu", birth: "1952-10-13", gender: "F", ok: true},
		{in: "311280-999J", kind: "hetu", birth: "1980-12-31", gender: "M", ok: true, synthetic: true},
		{in: "010594Y9032", kind: "hetu", birth: "1994-05-01", gender: "M", ok: true, synthetic: true},
		{in: "010594Y9021", kind: "hetu", birth: "1994-05-01", gender: "F", ok: true, synthetic: true},
		{in: "020594X903P", kind: "hetu", birth: "1994-05-02", gender: "M", ok: true, synthetic: true},
		{in: "020594X902N", kind: "hetu", birth: "1994-05-02", gender: "F", ok: true, synthetic: true},
		{in: "030594W903B", kind: "hetu", birth: "1994-05-03", gender: "M", ok: true, synthetic: true},
		{in: "030694W9024", kind: "hetu", birth: "1994-06-03", gender: "F", ok: true, synthetic: true},
		{in: "040594V9030", kind: "hetu", birth: "1994-05-04", gender: "M", ok: true, synthetic: true},
		{in: "040594V902Y", kind: "hetu", birth: "1994-05-04", gender: "F", ok: true, synthetic: true},
		{in: "050594U903M", kind: "hetu", birth: "1994-05-05", gender: "M", ok: true, synthetic: true},
		{in: "050594U902L", kind: "hetu", birth: "1994-05-05", gender: "F", ok: true, synthetic: true},
		{in: "010516B903X", kind: "hetu", birth: "2016-05-01", gender: "M", ok: true, synthetic: true},
		{in: "010516B902W", kind: "hetu", birth: "2016-05-01", gender: "F", ok: true, synthetic: true},
		{in: "020516C903K", kind: "hetu", birth: "2016-05-02", gender: "M", ok: true, synthetic: true},
		{in: "020516C902J", kind: "hetu", birth: "2016-05-02", gender: "F", ok: true, synthetic: true},
		{in: "030516D9037", kind: "hetu", birth: "2016-05-03", gender: "M", ok: true, synthetic: true},
		{in: "030516D9026", kind: "hetu", birth: "2016-05-03", gender: "F", ok: true, synthetic: true},
		{in: "010501E9032", kind: "hetu", birth: "2001-05-01", gender: "M", ok: true, synthetic: true},
		{in: "020502E902X", kind: "hetu", birth: "2002-05-02", gender: "F", ok: true, synthetic: true},
		{in: "020503F9037", kind: "hetu", birth: "2003-05-02", gender: "M", ok: true, synthetic: true},
		{in: "020504A902E", kind: "hetu", birth: "2004-05-02", gender: "F", ok: true, synthetic: true},
		{in: "020504B904H", kind: "hetu", birth: "2004-05-02", gender: "F", ok: true, synthetic: true},
		{in: "010170-900J", kind: "hetu", birth: "1970-01-01", gender: "F", ok: true, synthetic: true},
		{in: "010170-901K", kind: "hetu", birth: "1970-01-01", gender: "M", ok: true, synthetic: true},
		{in: "150285Y902A", kind: "hetu", birth: "1985-02-15", gender: "F", ok: true, synthetic: true},
		{in: "150285-902A", kind: "hetu", birth: "1985-02-15", gender: "F", ok: true, synthetic: true},
		{in: "010108A903M", kind: "hetu", birth: "2008-01-01", gender: "M", ok: true, synthetic: true},
		{in: "150650+903J", kind: "hetu", birth: "1850-06-15", gender: "M", ok: true, synthetic: true},
		{in: "131052-308U", kind: "hetu", birth: "1952-10-13", gender: "F"},
		{in: "010199A002A", kind: "hetu", birth: "", gender: "F"}, // 2099 has yet to come
	},
	"NL": {
		{in: "111222333", kind: "bsn", ok: true},
		{in: "1112.22.333", normalized: "111222333", kind: "bsn", ok: true},
		{in: "123456782", kind: "bsn", ok: true},
		{in: "249566758", kind: "bsn", ok: true},
		{in: "999990019", kind: "bsn", ok: true},
		{in: "999990020", kind: "bsn", ok: true},
		{in: "000078840", kind: "bsn", ok: true},
		{in: "00078840", normalized: "000078840", kind: "bsn", ok: true},
		{in: "123456789", kind: "bsn"},
		{in: "000000000", kind: "bsn"},
	},
}

func TestParse(t *testing.T) {
	t.Parallel()
	for country, list := range vectors {
		for _, v := range list {
			if v.normalized == "" {
				v.normalized = v.in
			}
			got, err := natid.Parse(country, v.in, now)
			if err != nil {
				t.Errorf("Parse(%s, %q): %v", country, v.in, err)
				continue
			}
			printed := vector{v.in, got.Normalized, got.Kind, got.BirthDate.String(), got.Gender, got.ChecksumOK, got.Synthetic, got.Uncertain}
			if d := cmp.Diff(v, printed, cmp.AllowUnexported(vector{})); d != "" {
				t.Errorf("Parse(%s, %q): -want +got\n%s", country, v.in, d)
			}
			if got.Country != country {
				t.Errorf("Parse(%s, %q).Country = %q", country, v.in, got.Country)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		country, in string
		want        error
	}{
		{"SE", "198711000011", natid.ErrDate}, // day 00
		{"SE", "8020051952", natid.ErrDate},   // organisation
		{"SE", "168020051952", natid.ErrDate}, // organisation with its prefix
		{"SE", "198702290011", natid.ErrDate}, // 1987 was no leap year
		{"SE", "198713702390", natid.ErrDate}, // coordination number, month 13
		{"SE", "198712922390", natid.ErrDate}, // coordination number, day 92
		{"SE", "202606022394", natid.ErrDate}, // tomorrow
		{"SE", "202607012394", natid.ErrDate}, // next month, the same day
		{"SE", "179912702397", natid.ErrDate}, // coordination number of a year before there were any
		{"SE", "179912102390", natid.ErrDate},
		{"SE", "000101T220", natid.ErrFormat},  // interim
		{"SE", "80-01022394", natid.ErrFormat}, // separator elsewhere
		{"SE", "19800102+2394", natid.ErrFormat},
		{"SE", "800102--2394", natid.ErrFormat},
		{"SE", "800102-239", natid.ErrFormat},
		{"SE", "80010223945", natid.ErrFormat},
		{"SE", "８001022394", natid.ErrFormat},  // a full-width digit
		{"FI", "131052-308ſ", natid.ErrFormat}, // a letter whose capital is S
		{"SE", "", natid.ErrFormat},
		{"NO", "29020105729", natid.ErrDate},
		{"NO", "20136914700", natid.ErrDate},
		{"NO", "00036914700", natid.ErrDate},
		{"NO", "2003691470", natid.ErrFormat},
		{"NO", "2003-6914700", natid.ErrFormat},
		{"DK", "3113701234", natid.ErrDate},
		{"DK", "5001701234", natid.ErrDate},
		{"DK", "121031-213A", natid.ErrFormat},
		{"BE", "85133003328", natid.ErrDate},
		{"BE", "85023003328", natid.ErrDate},
		{"BE", "85023003390", natid.ErrDate}, // right check digits, no such day
		{"BE", "85133003370", natid.ErrDate},
		{"BE", "85130003397", natid.ErrDate}, // day unknown, and no such month
		{"BE", "85003203316", natid.ErrDate}, // month unknown, and no such day
		{"BE", "8507300332", natid.ErrFormat},
		{"BE", "85..073003328", natid.ErrFormat},
		{"FI", "320170-900J", natid.ErrDate},
		{"FI", "010170G900J", natid.ErrFormat},
		{"FI", "010170-900Z", natid.ErrFormat},
		{"FI", "01A170-900J", natid.ErrFormat},
		{"FI", "010170-9A0J", natid.ErrFormat},
		{"FI", "010170-900/", natid.ErrFormat},
		{"FI", "010170-900@", natid.ErrFormat},
		{"FI", "010170900J", natid.ErrFormat},
		{"NL", "1234567", natid.ErrFormat},
		{"NL", "1234567890", natid.ErrFormat},
		{"XX", "1234567", natid.ErrCountry},
		{"se", "8001022394", natid.ErrCountry},
	} {
		if got, err := natid.Parse(v.country, v.in, now); !errors.Is(err, v.want) || got != (natid.Info{}) {
			t.Errorf("Parse(%s, %q) = %+v, %v; want %v", v.country, v.in, got, err, v.want)
		}
	}
}

func TestParseInterim(t *testing.T) {
	t.Parallel()
	got, err := natid.ParseInterim("000101t220", now)
	want := natid.Info{
		Country: "SE", Kind: "interim", Normalized: "20000101T220", Gender: "F",
		BirthDate: natid.Date{Year: 2000, Month: 1, Day: 1}, ChecksumOK: true,
	}
	if err != nil || got != want {
		t.Errorf("ParseInterim = %#v, %v; want %#v", got, err, want)
	}
	if got, err := natid.ParseInterim("20000101-T220", now); err != nil || got != want {
		t.Errorf("twelve digits: %#v, %v", got, err)
	}
	if _, err := natid.ParseInterim("000101ſ220", now); !errors.Is(err, natid.ErrFormat) {
		t.Errorf("a letter whose capital is S: %v", err)
	}
	if _, err := natid.ParseInterim("000101I220", now); !errors.Is(err, natid.ErrFormat) {
		t.Errorf("letter outside the list: %v", err)
	}
}

// A two-digit year means the last such year that has begun.
func TestCenturySE(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		in   string
		year int // of now
		want string
	}{
		{"250101-2384", 2026, "2025-01-01"},
		{"260101-2384", 2026, "2026-01-01"},
		{"270101-2384", 2026, "1927-01-01"},
		{"270101-2384", 2027, "2027-01-01"},
		{"260101+2384", 2026, "1926-01-01"},
		{"270101+2384", 2026, "1827-01-01"},
	} {
		got, err := natid.Parse("SE", v.in, time.Date(v.year, 6, 1, 0, 0, 0, 0, time.UTC))
		if err != nil || got.BirthDate.String() != v.want {
			t.Errorf("Parse(SE, %q) in %d: %s, %v; want %s", v.in, v.year, got.BirthDate, err, v.want)
		}
	}
}

func TestAgeAt(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		x, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, v := range []struct {
		country, birth, at string // at in UTC
		want               int
		ok                 bool
	}{
		{"SE", "2008-01-01", "2025-12-31 22:59", 17, true},
		{"SE", "2008-01-01", "2025-12-31 23:00", 18, true}, // midnight in Stockholm
		{"FI", "2008-01-01", "2025-12-31 21:59", 17, true},
		{"FI", "2008-01-01", "2025-12-31 22:00", 18, true}, // midnight in Helsinki
		{"NL", "2008-07-01", "2026-06-30 21:59", 17, true},
		{"NL", "2008-07-01", "2026-06-30 22:00", 18, true}, // summer time
		{"NO", "2008-02-29", "2026-02-28 12:00", 17, true},
		{"NO", "2008-02-29", "2026-03-01 12:00", 18, true},
		{"NO", "2008-02-29", "2028-02-29 12:00", 20, true},
		{"DK", "2026-02-01", "2026-03-01 12:00", 0, true},
		{"DK", "2026-04-01", "2026-03-01 12:00", 0, false},
		{"DK", "2027-01-01", "2026-03-01 12:00", 0, false},
		{"XX", "2008-01-01", "2026-03-01 12:00", 0, false},
	} {
		birth, err := natid.ParseDate(v.birth)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := natid.AgeAt(v.country, birth, at(v.at)); got != v.want || ok != v.ok {
			t.Errorf("AgeAt(%s, %s, %s) = %d, %v; want %d, %v", v.country, v.birth, v.at, got, ok, v.want, v.ok)
		}
	}
	for _, d := range []natid.Date{{}, {Year: 1990}} {
		if _, ok := natid.AgeAt("SE", d, now); ok {
			t.Errorf("AgeAt of %q is known", d)
		}
	}
}

func TestInfoAgeAt(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
		country, in string
		want        int
		ok          bool
	}{
		{"SE", "198001022394", 46, true},
		{"SE", "199000702390", 0, false}, // year only
		{"NO", "20036914700", 57, true},
		{"NO", "30108299939", 0, false}, // the 2032 rule tells no age
		{"NL", "111222333", 0, false},
	} {
		info, err := natid.Parse(v.country, v.in, now)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := info.AgeAt(now); got != v.want || ok != v.ok {
			t.Errorf("%s %s: AgeAt = %d, %v; want %d, %v", v.country, v.in, got, ok, v.want, v.ok)
		}
	}
}

func TestParseDate(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "2001-02-29", "20010228", "1990", "2001-2-8"} {
		if d, err := natid.ParseDate(s); !errors.Is(err, natid.ErrDate) {
			t.Errorf("ParseDate(%q) = %v, %v", s, d, err)
		}
	}
}

func ExampleParse() {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	n, err := natid.Parse("SE", "800102-2394", now)
	if err != nil {
		fmt.Println(err)
		return
	}
	age, known := n.AgeAt(now)
	fmt.Println(n.Normalized, n.BirthDate, n.Gender, n.ChecksumOK, age, known)
	// Output: 198001022394 1980-01-02 M true 46 true
}
