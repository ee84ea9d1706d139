package idin

import (
	"slices"
	"strings"

	"golang.org/x/text/collate"
	"golang.org/x/text/language"

	"eidgate/connector"
	"eidgate/eid"
	"eidgate/protocol/idin"
)

// Preset is the name of the parameter by which a party names banks: one BIC,
// or several with commas or spaces between.
const Preset = "idin_idp"

// Front implements connector.Fronter: the list of banks. One that the party
// has named needs no choice; several are the list. At a point of service a code
// comes first.
func (c *Connector) Front(r *connector.Request) connector.Ask {
	form := connector.Form{Name: "idin.bank"}
	groups := banks(r)
	bank := connector.Field{Name: "issuer", Kind: connector.Choice}
	for _, g := range groups {
		for _, e := range g.Entries {
			bank.Options = append(bank.Options, connector.Option{Value: e.ID, Label: e.Name, Plain: true, Group: g.Name, Unavailable: c.isDown(r, e.ID)})
		}
	}
	ask := connector.Ask{}
	switch {
	case len(bank.Options) == 0:
		form.Error = "idin.nolist"
	case len(bank.Options) == 1 && len(preset(r)) > 0:
		bank.Default, ask.Auto = bank.Options[0].Value, true
	}
	if r.Failed != nil {
		form.Error = "idin.failed"
		if r.Failed.Reason == eid.Unavailable {
			form.Error = "idin.down"
		}
	}
	form.Fields = []connector.Field{bank}
	if cl, err := c.client(r.Settings); err == nil && cl.qr != nil {
		form.Fields = append(form.Fields, connector.Field{Name: "choose", Kind: connector.Choice, Default: "code",
			Options: []connector.Option{{Value: "code", Label: "idin.qr.show"}}})
		ask.Auto = r.Failed == nil
		form.Fields[0].Default = ""
	}
	ask.Form = form
	return ask
}

// isDown says whether a bank could not be reached a moment ago: by this
// person, or by anybody through this node.
func (c *Connector) isDown(r *connector.Request, issuer string) bool {
	if r.Failed != nil && r.Failed.Reason == eid.Unavailable && r.Input.Get("issuer") == issuer {
		return true
	}
	at, ok := c.down.Get(downKey{r.Settings.Key, issuer})
	return ok && c.now().Sub(at) < downFor
}

// preset are the banks that the party has named and the directory knows.
// Others count for nothing.
func preset(r *connector.Request) []string {
	var out []string
	for _, id := range strings.FieldsFunc(r.Params[Preset], func(c rune) bool { return c == ',' || c == ' ' }) {
		if _, known := r.List.Find(id); known && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// banks are those to choose from: the home country's first, each country's by
// the alphabet of the page's language (docs/protocols/idin.md §12).
func banks(r *connector.Request) []connector.Group {
	if r.List == nil {
		return nil
	}
	only := preset(r)
	tag, err := language.Parse(r.Language)
	if err != nil {
		tag = language.Dutch
	}
	order := collate.New(tag, collate.IgnoreCase)
	var out []connector.Group
	for _, g := range r.List.Groups {
		next := connector.Group{Name: g.Name}
		for _, e := range g.Entries {
			if len(only) == 0 || slices.Contains(only, e.ID) {
				next.Entries = append(next.Entries, e)
			}
		}
		slices.SortStableFunc(next.Entries, func(a, b connector.Entry) int { return order.CompareString(a.Name, b.Name) })
		if len(next.Entries) > 0 {
			out = append(out, next)
		}
	}
	slices.SortStableFunc(out, func(a, b connector.Group) int {
		if ha, hb := isHome(a), isHome(b); ha != hb {
			if ha {
				return -1
			}
			return 1
		}
		return order.CompareString(a.Name, b.Name)
	})
	return out
}

// isHome recognises the Netherlands by its name in its own language.
func isHome(g connector.Group) bool { return strings.EqualFold(g.Name, "Nederland") }

// chosen is the bank to go to: the person's choice, or the party's only one.
func chosen(r *connector.Request, input string) (string, *connector.Fail) {
	only := preset(r)
	if input == "" && len(only) == 1 {
		input = only[0]
	}
	_, known := r.List.Find(input)
	switch {
	case known && (len(only) == 0 || slices.Contains(only, input)):
		return input, nil
	case r.List == nil:
		return "", &connector.Fail{Reason: eid.Unavailable, Code: "no_directory", Retry: true}
	case input == "" || !idin.ValidIssuer(input):
		return "", &connector.Fail{Reason: eid.BadRequest, Code: "no_bank", Retry: true}
	}
	return "", &connector.Fail{Reason: eid.Unavailable, Code: "unknown_bank", Retry: true}
}
