package natid

// parseNL reads nine digits, or eight that have lost a leading zero (§7). The
// number tells neither birth date nor gender.
func parseNL(s string, _ Date) (Info, error) {
	within := []int{1, 2, 3, 4, 5, 6, 7, 8}
	n, ok := digits(s, 9, " .", within...)
	if !ok {
		n, ok = digits(s, 8, " .", within[:7]...)
		n = "0" + n
	}
	if !ok {
		return Info{}, ErrFormat
	}
	sum := weigh(n, 9, 8, 7, 6, 5, 4, 3, 2, -1)
	return Info{
		Kind:       "bsn",
		Normalized: n,
		ChecksumOK: sum%11 == 0 && n != "000000000",
	}, nil
}
