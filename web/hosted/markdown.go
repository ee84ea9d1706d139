package hosted

import (
	"html/template"
	"regexp"
	"strconv"
	"strings"
)

// document shows a text that is to be signed as BankID's app shows it: plain,
// line by line, or simpleMarkdownV1 (docs/protocols/bankidse.md §14). What the
// mark-up forbids is shown as it stands: the eID refuses such a text anyway.
func document(text, format string) template.HTML {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	if format != "simpleMarkdownV1" {
		return template.HTML(`<p class="lines">` + template.HTMLEscapeString(text) + "</p>") //nolint:gosec // escaped
	}
	m := &markdown{lines: strings.Split(text, "\n")}
	for m.at < len(m.lines) {
		m.block()
	}
	return template.HTML(m.out.String()) //nolint:gosec // every text in it is escaped
}

var (
	heading  = regexp.MustCompile(`^(#{1,3}) +(\S.*)$`)
	bullet   = regexp.MustCompile(`^\+ +(\S.*)$`)
	numbered = regexp.MustCompile(`^\+([1-9][0-9]?) +(\S.*)$`)
	ruling   = regexp.MustCompile(`^\|(:?-+:?\|)+$`) // the second row of a table
)

type markdown struct {
	lines []string
	at    int
	out   strings.Builder
}

// block writes the block that begins at the next line.
func (m *markdown) block() {
	line := m.line(m.at)
	switch h := heading.FindStringSubmatch(line); {
	case line == "":
		m.at++
	case line == "---":
		m.at++
		m.out.WriteString("<hr>")
	case h != nil:
		m.at++
		n := strconv.Itoa(len(h[1]) + 1) // the page has the first heading
		m.out.WriteString("<h" + n + ">" + inline(h[2]) + "</h" + n + ">")
	case bullet.MatchString(line):
		m.list("ul", bullet)
	case numbered.MatchString(line):
		m.list("ol", numbered)
	case strings.HasPrefix(line, "|") && ruling.MatchString(m.line(m.at+1)):
		m.table()
	default:
		m.paragraph()
	}
}

func (m *markdown) line(i int) string {
	if i >= len(m.lines) {
		return ""
	}
	return strings.TrimSpace(m.lines[i])
}

// list writes the items that follow one another. A numbered one counts as the
// text says, not as the browser would.
func (m *markdown) list(tag string, item *regexp.Regexp) {
	m.out.WriteString("<" + tag + ">")
	for ; ; m.at++ {
		x := item.FindStringSubmatch(m.line(m.at))
		if x == nil {
			break
		}
		m.out.WriteString("<li")
		if len(x) == 3 {
			m.out.WriteString(` value="` + x[1] + `"`)
		}
		m.out.WriteString(">" + inline(x[len(x)-1]) + "</li>")
	}
	m.out.WriteString("</" + tag + ">")
}

func (m *markdown) table() {
	var align []string
	for _, c := range cells(m.line(m.at + 1)) {
		class := ""
		switch left, right := strings.HasPrefix(c, ":"), strings.HasSuffix(c, ":"); {
		case left && right:
			class = ` class="centre"`
		case right:
			class = ` class="end"`
		}
		align = append(align, class)
	}
	row := func(tag, more string) {
		m.out.WriteString("<tr>")
		for i, c := range cells(m.line(m.at)) {
			m.out.WriteString("<" + tag + more)
			if i < len(align) {
				m.out.WriteString(align[i])
			}
			m.out.WriteString(">" + inline(c) + "</" + tag + ">")
		}
		m.out.WriteString("</tr>")
	}
	m.out.WriteString("<table><thead>")
	row("th", ` scope="col"`)
	m.out.WriteString("</thead><tbody>")
	for m.at += 2; strings.HasPrefix(m.line(m.at), "|"); m.at++ {
		row("td", "")
	}
	m.out.WriteString("</tbody></table>")
}

// cells takes a row apart at the bars that are not escaped.
func cells(row string) []string {
	row = strings.TrimPrefix(row, "|")
	var out []string
	start := 0
	for i := 0; i < len(row); i++ {
		switch row[i] {
		case '\\':
			i++
		case '|':
			out = append(out, row[start:i])
			start = i + 1
		}
	}
	if start < len(row) {
		out = append(out, row[start:])
	}
	return out
}

// paragraph writes lines up to a blank one or to another kind of block; line
// breaks in it are blanks.
func (m *markdown) paragraph() {
	var text []string
	for ; m.line(m.at) != ""; m.at++ {
		line := m.line(m.at)
		if len(text) > 0 && (line == "---" || heading.MatchString(line) || bullet.MatchString(line) || numbered.MatchString(line)) {
			break
		}
		text = append(text, line)
	}
	m.out.WriteString("<p>" + inline(strings.Join(text, " ")) + "</p>")
}

// inline writes a run of text: escapes, and stars around what is bold.
func inline(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	var out, run strings.Builder
	bold := false
	flush := func() {
		out.WriteString(template.HTMLEscapeString(run.String()))
		run.Reset()
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte(`#+|*-\`, s[i+1]) >= 0:
			i++
			run.WriteByte(s[i])
		case s[i] == '*' && (bold || closes(s[i+1:])):
			flush()
			out.WriteString(map[bool]string{false: "<strong>", true: "</strong>"}[bold])
			bold = !bold
		default:
			run.WriteByte(s[i])
		}
	}
	flush()
	return out.String()
}

// closes says whether a star that has just opened is closed again.
func closes(rest string) bool {
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '*':
			return true
		}
	}
	return false
}
