package golden

import (
	"bytes"
	"strings"
)

// An archive is a comment and named files in one text, in the txtar format: a
// line "-- name --" begins each file. A file that does not end in a newline
// gets one.
type archive struct {
	comment []byte
	files   []file
}

type file struct {
	name string
	data []byte
}

func parseArchive(text []byte) archive {
	var a archive
	into := &a.comment
	for len(text) > 0 {
		line := text
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			line = text[:i+1]
		}
		text = text[len(line):]
		if name, ok := marker(line); ok {
			a.files = append(a.files, file{name: name})
			into = &a.files[len(a.files)-1].data
			continue
		}
		*into = append(*into, line...)
	}
	return a
}

func marker(line []byte) (name string, ok bool) {
	s := strings.TrimRight(string(line), "\r\n")
	if !strings.HasPrefix(s, "-- ") || !strings.HasSuffix(s, " --") || len(s) < 7 {
		return "", false
	}
	return strings.TrimSpace(s[3 : len(s)-3]), true
}

func (a archive) format() []byte {
	var b bytes.Buffer
	put := func(data []byte) {
		b.Write(data)
		if len(data) > 0 && data[len(data)-1] != '\n' {
			b.WriteByte('\n')
		}
	}
	put(a.comment)
	for _, f := range a.files {
		b.WriteString("-- " + f.name + " --\n")
		put(f.data)
	}
	return b.Bytes()
}
