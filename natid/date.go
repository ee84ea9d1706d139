package natid

import (
	"fmt"
	"log/slog"
	"time"
	_ "time/tzdata" // ages must not depend on what the machine has installed
)

// A Date is a day, or a year alone (Month and Day 0), or nothing (all 0).
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// IsDay tells whether the date is known to the day.
func (d Date) IsDay() bool { return d.Month != 0 }

// String is YYYY-MM-DD, YYYY, or "" as far as the date is known. It is personal
// data: logs get LogValue.
func (d Date) String() string {
	switch {
	case d.IsDay():
		return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day)
	case d.Year != 0:
		return fmt.Sprintf("%04d", d.Year)
	}
	return ""
}

// LogValue shows how much is known, not what.
func (d Date) LogValue() slog.Value {
	switch {
	case d.IsDay():
		return slog.StringValue("day")
	case d.Year != 0:
		return slog.StringValue("year")
	}
	return slog.StringValue("none")
}

// ParseDate reads YYYY-MM-DD; any other text, and a day that does not exist, is
// ErrDate.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, ErrDate // the parser's own error quotes the date
	}
	return dateOf(t), nil
}

// AgeAt is the age in full years at t, on the calendar of a country, of a
// person born on a day. Who was born on 29 February is a year older on 1 March
// of other years. Not ok when the day is unknown or yet to come, or the country
// is not one of this package.
func AgeAt(country string, birth Date, t time.Time) (years int, ok bool) {
	if _, known := zones[country]; !known || !birth.IsDay() {
		return 0, false
	}
	day := today(country, t)
	years = day.Year - birth.Year
	if day.Month < birth.Month || day.Month == birth.Month && day.Day < birth.Day {
		years--
	}
	if years < 0 {
		return 0, false
	}
	return years, true
}

// zones: the calendar of each country.
var zones = map[string]*time.Location{
	"SE": zone("Europe/Stockholm"), "NO": zone("Europe/Oslo"), "DK": zone("Europe/Copenhagen"),
	"BE": zone("Europe/Brussels"), "FI": zone("Europe/Helsinki"), "NL": zone("Europe/Amsterdam"),
}

func zone(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		panic(err) // cannot happen: the data is linked in
	}
	return loc
}

func today(country string, now time.Time) Date { return dateOf(now.In(zones[country])) }

func dateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// real tells whether a day exists in the calendar.
func real(year, month, day int) bool {
	if month < 1 || month > 12 || day < 1 {
		return false
	}
	return day <= time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// after tells whether d begins later than o; a year alone begins with its first day.
func (d Date) after(o Date) bool {
	if d.Year != o.Year {
		return d.Year > o.Year
	}
	if d.Month != o.Month {
		return d.Month > o.Month
	}
	return d.Day > o.Day
}

// someLeapYear stands for a year whose century is unknown: 29 February is given
// the benefit of the doubt.
func someLeapYear(yy int) int {
	if yy == 0 {
		return 2000
	}
	return 1900 + yy
}

// known is the date unless it has yet to come: then a derived century was
// wrong, and nothing is known.
func known(d, today Date) Date {
	if d.after(today) {
		return Date{}
	}
	return d
}

func date(year, month, day int) Date { return Date{year, time.Month(month), day} }
