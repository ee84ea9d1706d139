package web

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/gif"  // a kind of file that logos come in
	_ "image/jpeg" // likewise
	"image/png"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Theme is a party's look of the pages for people: values only, so that nothing
// of it can run, and checked so that everybody can read it.
type Theme struct {
	Accent  string // of buttons and links, "#1f4f82"; "" for ours
	Ground  string // behind the page; "" for ours
	Corners string // square, soft or round; "" for round
	Font    string // one of Fonts; "" for the system's
	Light   bool   // no dark form
	Logo    *Logo  // beside the party's name; nil for none

	// Addresses of the party's own pages, which open in another tab; "" for none.
	// {language} in one stands for the code of the page's language.
	Help, Accessibility, Privacy string
}

// A Logo is a small picture, as it is sent.
type Logo struct {
	PNG           []byte
	Width, Height int // pixels
}

// Limits of logos: a page with one still is of 25 kB at most.
const (
	maxLogoFile  = 256 << 10
	maxLogoBytes = 7000
	maxLogoSide  = 1024
)

// ReadLogo reads a picture in PNG, JPEG or GIF. What is sent is written anew, so
// that nothing else of the file goes along.
func ReadLogo(file []byte) (*Logo, error) {
	if len(file) > maxLogoFile {
		return nil, fmt.Errorf("is larger than %d kB", maxLogoFile>>10)
	}
	size, _, err := image.DecodeConfig(bytes.NewReader(file))
	if err != nil {
		return nil, errors.New("is no picture in PNG, JPEG or GIF")
	}
	if size.Width > maxLogoSide || size.Height > maxLogoSide {
		return nil, fmt.Errorf("is %d by %d pixels, of at most %d; 80 in height are enough", size.Width, size.Height, maxLogoSide)
	}
	picture, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, errors.New("is a picture that cannot be read to its end")
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, picture); err != nil {
		return nil, err
	}
	if b.Len() > maxLogoBytes {
		return nil, fmt.Errorf("takes %d kB as a PNG, of at most %d: take fewer pixels, 80 in height are enough, or fewer colours", (b.Len()+999)/1000, maxLogoBytes/1000)
	}
	at := picture.Bounds() // of a GIF its first picture, which may be smaller than the screen that its header names
	return &Logo{b.Bytes(), at.Dx(), at.Dy()}, nil
}

var (
	fonts = map[string]string{
		"system":   "",
		"serif":    `Charter,"Bitstream Charter","Sitka Text",Cambria,serif`,
		"humanist": `Seravek,"Gill Sans Nova",Ubuntu,Calibri,"DejaVu Sans",sans-serif`,
		"rounded":  `ui-rounded,"Hiragino Maru Gothic ProN",Quicksand,Comfortaa,"Arial Rounded MT Bold",Calibri,sans-serif`,
	}
	corners = map[string][2]int{"square": {0, 0}, "soft": {6, 4}, "round": {14, 10}} // pixels: of the page, of buttons
)

// Fonts and Corners are what a theme may name: fonts that computers have, since a
// page loads none.
var (
	Fonts   = slices.Sorted(maps.Keys(fonts))
	Corners = slices.Sorted(maps.Keys(corners))
)

// A colour is red, green and blue.
type colour [3]uint8

// Colours of page.css that themes stand beside.
var (
	white      = colour{0xff, 0xff, 0xff} // and of its card
	black      = colour{}
	ours       = colour{0x1f, 0x4f, 0x82} // accent
	ourGround  = colour{0xf4, 0xf5, 0xf7}
	soft       = colour{0x52, 0x5c, 0x68} // the faintest text
	darkCard   = colour{0x1d, 0x21, 0x26}
	darkGround = colour{0x14, 0x17, 0x1a}
	darkText   = colour{0x0e, 0x18, 0x22} // on a light button
)

func parseColour(s string) (c colour, ok bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "#"), 16, 24)
	if err != nil || len(s) != 7 || s[0] != '#' {
		return c, false
	}
	return colour{uint8(n >> 16), uint8(n >> 8), uint8(n)}, true //nolint:gosec // a byte each
}

func (c colour) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// luminance is the relative luminance of WCAG 2.2.
func (c colour) luminance() float64 {
	sum := 0.0
	for i, weight := range [3]float64{0.2126, 0.7152, 0.0722} {
		v := float64(c[i]) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}

// contrast is that of WCAG 2.2, from 1 to 21.
func contrast(a, b colour) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// legible is the contrast that text must have.
const legible = 4.5

// towards is the first colour on the way from c to another one that is legible on
// all of these.
func (c colour) towards(end colour, on ...colour) colour {
	const steps = 255
	out := c
	for step := range steps + 1 {
		for i := range out {
			out[i] = uint8((int(c[i])*(steps-step) + int(end[i])*step) / steps) //nolint:gosec // between two bytes
		}
		if !slices.ContainsFunc(on, func(o colour) bool { return contrast(out, o) < legible }) {
			break
		}
	}
	return out
}

// pick is the colour that a theme names, or another one.
func pick(named string, other colour) colour {
	if c, ok := parseColour(named); ok {
		return c
	}
	return other
}

// Check says of each value by its name what is wrong with it: "accent", "ground",
// "corners", "font".
func (t *Theme) Check() map[string]string {
	wrong := map[string]string{}
	for name, value := range map[string]string{"accent": t.Accent, "ground": t.Ground} {
		if _, ok := parseColour(value); !ok && value != "" {
			wrong[name] = fmt.Sprintf("%q is no colour such as %s", value, ours)
		}
	}
	if _, ok := corners[t.Corners]; !ok && t.Corners != "" {
		wrong["corners"] = fmt.Sprintf("%q is none of %s", t.Corners, strings.Join(Corners, ", "))
	}
	if _, ok := fonts[t.Font]; !ok && t.Font != "" {
		wrong["font"] = fmt.Sprintf("%q is none of %s", t.Font, strings.Join(Fonts, ", "))
	}
	if len(wrong) > 0 {
		return wrong
	}
	accent, ground := pick(t.Accent, ours), pick(t.Ground, ourGround)
	if got := contrast(soft, ground); got < legible {
		wrong["ground"] = fmt.Sprintf("text on %s has a contrast of %.1f to 1, of at least %.1f; the nearest that can be read on is %s", ground, got, legible, ground.towards(white, soft))
		return wrong
	}
	if got := min(contrast(accent, white), contrast(accent, ground)); got < legible {
		wrong["accent"] = fmt.Sprintf("links in %s have a contrast of %.1f to 1, of at least %.1f; the nearest that can be read is %s", accent, got, legible, accent.towards(black, white, ground))
	}
	return wrong
}

// style is the stylesheet of the pages with the theme's values in it. The accent of
// its dark form is ours to find: the same colour, as light as it must be.
func (t *Theme) style(base []byte) []byte {
	accent, corner := pick(t.Accent, ours), corners["round"]
	if t.Corners != "" {
		corner = corners[t.Corners]
	}
	const dark = "(prefers-color-scheme:dark)"
	if t.Light {
		base = bytes.ReplaceAll(base, []byte(dark), []byte("not all"))
	}
	out := bytes.Clone(base)
	out = fmt.Appendf(out, ":root{--accent:%s;--ground:%s;--radius:%dpx;--corner:%dpx}\n", accent, pick(t.Ground, ourGround), corner[0], corner[1])
	if family := fonts[t.Font]; family != "" {
		out = fmt.Appendf(out, "html{font-family:%s}\n", family)
	}
	if !t.Light {
		light := accent.towards(white, darkCard, darkGround)
		on := darkText
		if contrast(white, light) > contrast(darkText, light) {
			on = white
		}
		out = fmt.Appendf(out, "@media %s{:root{--accent:%s;--on:%s;--ground:%s}}\n", dark, light, on, darkGround)
	}
	return out
}

// Dress adds a theme's stylesheet and logo, and says at which addresses they are;
// logo is "" without one.
func (s *Static) Dress(t *Theme) (style, logo string) {
	style = s.add("page.css", t.style(s.byPath[s.byName["page.css"]].body))
	if t.Logo != nil {
		logo = s.add("logo.png", t.Logo.PNG)
	}
	return style, logo
}
