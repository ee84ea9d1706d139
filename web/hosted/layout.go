package hosted

import (
	"bytes"
	"html/template"
	"strings"

	"eidgate/web"
)

// A Layout is what stands around a page: all that the templates "top", "cancel",
// "foot" and "close" can show, since they are given nothing else. The pages of
// many sessions are the same there, and that is drawn once for all of them.
type Layout struct {
	words *web.Words

	Theme
	Query, QuerySep, Self                    string
	View, Lang, Title, Lead                  string
	LeadLang                                 string // of an upstream's own words; "" for the page's, or an unknown one
	Party, Host, EID, Phone, Faults          string
	Sandbox, InApp, Problem, Refers, Scripts bool // Problem: a field is wrong; Refers: the session's reference stands below
	Back, Mood, Mark, Returned               string
	Refresh                                  int
	Here                                     string       // what a page without scripts loads again
	AtOnce                                   template.URL // where the page leads by itself
	Later                                    int          // seconds after which it leads to Leads by itself; 0 for never
	Leads                                    string
}

// A Theme is how a party's pages look and what they link to, as addresses of
// files and pages; the zero one is ours.
type Theme struct {
	Style         string // the stylesheet
	Logo          string
	Width, Height int // of the logo, pixels

	Help, Accessibility, Privacy string // of the party; {language} stands for the page's
}

// in is the theme for a page in a language.
func (t Theme) in(lang string) Theme {
	for _, to := range []*string{&t.Help, &t.Accessibility, &t.Privacy} {
		*to = strings.ReplaceAll(*to, "{language}", lang)
	}
	return t
}

// T is a sentence of the page's language.
func (l *Layout) T(key string) string { return l.words.Say(l.Lang, key, "party", l.Party) }

// Only is what stands before and after the party's name in the sentence that
// warns of links from strangers: its host goes with the name.
func (l *Layout) Only() [2]string {
	before, after, _ := strings.Cut(l.words.Say(l.Lang, "only", "party", "\x00"), "\x00")
	return [2]string{before, after}
}

// Languages are the languages to choose from.
func (l *Layout) Languages() []string { return l.words.Languages() }

// Called is a language's own name.
func (l *Layout) Called(lang string) string { return l.words.Say(lang, "lang.name") }

// drawn is a layout as it is sent: what stands before, between and after the
// parts that show a single session.
type drawn [len(around)][]byte

var around = [...]string{"top", "cancel", "foot", "close"}

// maxLayouts bounds the layouts that are kept, of some 3 kB each. A party has
// about five in each language that its people read.
const maxLayouts = 1 << 11

// draw writes a layout, or finds it written. One with an address that is somebody's
// own is not kept: nobody else has an equal one.
func (p *Pages) draw(l *Layout) (drawn, error) {
	own := l.Query != "" || l.AtOnce != "" || l.Leads != ""
	if !own {
		if d, ok := p.layouts.Get(*l); ok {
			return d, nil
		}
	}
	var d drawn
	var b bytes.Buffer
	for i, name := range around {
		b.Reset()
		if err := p.tmpl[l.Lang].ExecuteTemplate(&b, name, l); err != nil {
			return d, err
		}
		d[i] = bytes.Clone(b.Bytes()) // no longer than it must be
	}
	if !own {
		p.layouts.Put(*l, d)
	}
	return d, nil
}
