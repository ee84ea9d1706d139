package hosted

import (
	"strings"
	"testing"
)

// TestDocument follows docs/protocols/bankidse.md §14 topic by topic.
func TestDocument(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, format, text, want string }{
		{"plain", "", "# No\r\n<b>*mark*\rup", "<p class=\"lines\"># No\n&lt;b&gt;*mark*\nup</p>"},
		{"heading", md, "# One\n## Two\n### Three\n#### no", "<h2>One</h2><h3>Two</h3><h4>Three</h4><p>#### no</p>"},
		{"rule", md, "a\n---\nb", "<p>a</p><hr><p>b</p>"},
		{"list", md, "+ one\n+ *two*\n\n+3 three\n+12 twelve\n+ again", `<ul><li>one</li><li><strong>two</strong></li></ul><ol><li value="3">three</li><li value="12">twelve</li></ol><ul><li>again</li></ul>`},
		{"other markers", md, "- one", "<p>- one</p>"},
		{"bold", md, `a *b c* \*d\* *open`, "<p>a <strong>b c</strong> *d* *open</p>"},
		{"escapes", md, `\# \+ \| \- \\ \x`, `<p># + | - \ \x</p>`},
		{"table", md, "|a|*b*|c|\n|:-|:-:|-:|\n|1|2|x\\|y|\nend", `<table><thead><tr><th scope="col">a</th><th scope="col" class="centre"><strong>b</strong></th><th scope="col" class="end">c</th></tr></thead>` +
			`<tbody><tr><td>1</td><td class="centre">2</td><td class="end">x|y</td></tr></tbody></table><p>end</p>`},
		{"paragraphs", md, "one\n  two   three\n\nfour", "<p>one two three</p><p>four</p>"},
		{"mark-up of the web", md, "# <script>\n+ <img src=x>\n|<b>|\n|-|\n|&|", "<h2>&lt;script&gt;</h2><ul><li>&lt;img src=x&gt;</li></ul><table><thead><tr><th scope=\"col\">&lt;b&gt;</th></tr></thead><tbody><tr><td>&amp;</td></tr></tbody></table>"},
	} {
		if got := string(document(c.text, c.format)); got != c.want {
			t.Errorf("%s: document(%q) =\n%s, want\n%s", c.name, c.text, got, c.want)
		}
	}
}

const md = "simpleMarkdownV1"

// FuzzDocument: whatever is signed, nothing of it is mark-up of a page, and
// every element that is opened is closed.
func FuzzDocument(f *testing.F) {
	for _, s := range []string{"# a\n|a|\n|-|\n|b|", "*a\\*b*", "+1 x\n+ y", "\\", "|", "<script>", "*\n*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := string(document(s, md))
		for _, tag := range []string{"p", "h2", "h3", "h4", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "strong"} {
			open := strings.Count(out, "<"+tag+">") + strings.Count(out, "<"+tag+" ")
			if shut := strings.Count(out, "</"+tag+">"); open != shut {
				t.Errorf("%q: %d <%s>, %d </%s>\n%s", s, open, tag, shut, tag, out)
			}
		}
		if strings.Contains(out, "<script") || strings.Contains(out, "<img") {
			t.Errorf("%q gets through:\n%s", s, out)
		}
	})
}
