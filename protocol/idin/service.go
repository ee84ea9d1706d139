package idin

import (
	"slices"
	"strconv"
	"strings"
)

// A ServiceID says what is asked for, as the sum of its groups (§6). Age is
// not a flag but a field of three bits: Adult and Birth exclude each other.
type ServiceID uint16

// The groups. Zero asks for nothing but a transient id.
const (
	Mail    ServiceID = 1 << 1
	Phone   ServiceID = 1 << 2
	Sign    ServiceID = 1 << 3
	Gender  ServiceID = 1 << 4
	Adult   ServiceID = 1 << 6             // 18 or older
	Birth   ServiceID = 1<<8 | 1<<7 | 1<<6 // date of birth
	Address ServiceID = 1 << 10
	Name    ServiceID = 1 << 12
	BIN     ServiceID = 1 << 14

	ageField = Birth
	known    = Mail | Phone | Sign | Gender | Birth | Address | Name | BIN
)

// groups in the order of their weight, with a mask each.
var groups = []struct {
	name       string
	mask, want ServiceID
}{
	{"bin", BIN, BIN}, {"name", Name, Name}, {"address", Address, Address}, {"birth", ageField, Birth}, {"adult", ageField, Adult},
	{"gender", Gender, Gender}, {"sign", Sign, Sign}, {"phone", Phone, Phone}, {"mail", Mail, Mail},
}

// Groups yields the groups that id holds, heaviest first.
func (id ServiceID) Groups() []ServiceID {
	var out []ServiceID
	for _, g := range groups {
		if id&g.mask == g.want {
			out = append(out, g.want)
		}
	}
	return out
}

// Has says whether id holds every group of want. Birth does not hold Adult.
func (id ServiceID) Has(want ServiceID) bool { return id.Missing(want) == 0 }

// Missing is what of want is not in id, group by group.
func (id ServiceID) Missing(want ServiceID) ServiceID {
	have, out := id.Groups(), ServiceID(0)
	for _, g := range want.Groups() {
		if !slices.Contains(have, g) {
			out |= g
		}
	}
	return out
}

// Valid says whether id may be requested: known groups only, a defined pattern
// in the age field, and a signature only together with the BIN (§6). The bit of
// the BSN, 1, is not known any more.
func (id ServiceID) Valid() bool {
	age := id & ageField
	return id&^known == 0 && (age == 0 || age == Adult || age == Birth) && (id&Sign == 0 || id&BIN != 0)
}

// String is the number and what it stands for: "20480 bin+name".
func (id ServiceID) String() string {
	var names []string
	for _, g := range groups {
		if id&g.mask == g.want {
			names = append(names, g.name)
		}
	}
	return strings.TrimSpace(strconv.Itoa(int(id)) + " " + strings.Join(names, "+"))
}
