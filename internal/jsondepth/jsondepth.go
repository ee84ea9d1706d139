// Package jsondepth refuses JSON that is nested too deeply, before anything is
// made of it.
package jsondepth

// Max is how many objects and arrays may be in each other. Nothing that is
// exchanged here needs more than a handful.
const Max = 32

// TooDeep says whether objects and arrays of a text are in each other deeper
// than Max. The text need not be JSON: strings in single quotes count as such.
func TooDeep(text []byte) bool {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '"' || c == '\'':
			quote = c
		case c == '{' || c == '[':
			if depth++; depth > Max {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
