package eid

import (
	"strconv"
	"strings"
)

const checkRef = "check:"

// CheckRef is how an age check is named among the references of an order. A
// session that has failed has no identity, and its check is found by this.
func CheckRef(id int64) string { return checkRef + strconv.FormatInt(id, 10) }

// CheckID reads what CheckRef has written; zero for any other reference.
func CheckID(ref string) int64 {
	text, ok := strings.CutPrefix(ref, checkRef)
	id, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || id < 0 {
		return 0
	}
	return id
}
