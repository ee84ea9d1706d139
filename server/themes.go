package server

import (
	_ "embed" // the demo shop's logo
	"fmt"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"

	"eidgate/web"
	"eidgate/web/hosted"
)

// A themed account is one with a theme of that name.
type themed struct{ account, name string }

// read reads the theme with its logo.
func (t *ThemeConfig) read() (*web.Theme, error) {
	out := &web.Theme{Accent: t.Accent, Ground: t.Ground, Corners: t.Corners, Font: t.Font, Light: t.Light,
		Help: t.Help, Accessibility: t.Accessibility, Privacy: t.Privacy}
	if t.LogoFile == "" {
		return out, nil
	}
	raw, err := os.ReadFile(t.LogoFile)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", t.LogoFile, unwrapPath(err))
	}
	if out.Logo, err = web.ReadLogo(raw); err != nil {
		return nil, fmt.Errorf("%s %w", t.LogoFile, err)
	}
	return out, nil
}

// themes are those of all accounts.
func (c *Config) themes() (map[themed]*web.Theme, error) {
	all := map[themed]*web.Theme{}
	for i := range c.Accounts {
		for j := range c.Accounts[i].Themes {
			t := &c.Accounts[i].Themes[j]
			read, err := t.read()
			if err != nil {
				return nil, fmt.Errorf("theme %s of account %s: %w", t.Name, c.Accounts[i].ID, err)
			}
			all[themed{c.Accounts[i].ID, t.Name}] = read
		}
	}
	return all, nil
}

// looks gives themes addresses, and finds them.
func looks(static *web.Static, all map[themed]*web.Theme) func(account, layout string) hosted.Theme {
	dressed := map[themed]hosted.Theme{}
	for at, t := range all {
		out := hosted.Theme{Help: t.Help, Accessibility: t.Accessibility, Privacy: t.Privacy}
		out.Style, out.Logo = static.Dress(t)
		if t.Logo != nil {
			out.Width, out.Height = t.Logo.Width, t.Logo.Height
		}
		dressed[at] = out
	}
	return func(account, layout string) hosted.Theme { return dressed[themed{account, layout}] }
}

// themes checks an account's themes, and that whoever names one names one of them.
func (k *checker) themes(at string, a *AccountConfig) {
	names := map[string]bool{"": true}
	for i := range a.Themes {
		t, here := &a.Themes[i], fmt.Sprintf("%s.themes.%d", at, i)
		switch n := utf8.RuneCountInString(t.Name); {
		case n == 0:
			k.doc.Report(here+".name", "is required: requests choose by it")
		case n > 100:
			k.doc.Report(here+".name", "has %d characters, of at most 100", n)
		case names[t.Name]:
			k.doc.Report(here+".name", "%q stands here a second time", t.Name)
		}
		names[t.Name] = true
		read, err := t.read()
		if err != nil {
			k.doc.Report(here+".logo_file", "%v", err)
			continue
		}
		for name, text := range read.Check() {
			k.doc.Report(here+"."+name, "%s", text)
		}
		for name, address := range map[string]string{"help": t.Help, "accessibility": t.Accessibility, "privacy": t.Privacy} {
			u, err := url.Parse(strings.ReplaceAll(address, "{language}", "en"))
			if address != "" && (err != nil || u.Scheme != "https" || u.Host == "" || strings.Contains(u.Host, "{")) {
				k.doc.Report(here+"."+name, "%q must be an https address, such as https://shop.example/{language}/%s", address, name)
			}
		}
	}
	known := func(path, name string) {
		if !names[name] {
			k.doc.Report(path, "%q is the name of no theme of this account", name)
		}
	}
	known(at+".layout", a.Layout)
	for i := range a.Configs {
		known(fmt.Sprintf("%s.configs.%d.layout", at, i), a.Configs[i].Layout)
	}
	for i := range a.OIDCClients {
		known(fmt.Sprintf("%s.oidc_clients.%d.layout", at, i), a.OIDCClients[i].Layout)
	}
}

//go:embed lamp.png
var lamp []byte

// devThemes are those of the demo shop, for layout in a request.
var devThemes = map[themed]*web.Theme{
	{sandboxAccount, "lamp"}: {Accent: "#8a4b00", Ground: "#fdf3e3", Corners: "soft", Font: "serif", Logo: &web.Logo{PNG: lamp, Width: 80, Height: 80},
		Help: "https://shop.example/{language}/help", Accessibility: "https://shop.example/{language}/accessibility", Privacy: "https://shop.example/{language}/privacy"},
	{sandboxAccount, "ink"}: {Accent: "#2b2b2b", Corners: "square", Font: "humanist", Light: true},
}
