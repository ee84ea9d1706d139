package web

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestContrast: pairs whose contrast WCAG 2.2 and its techniques state.
func TestContrast(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want float64
	}{
		{"#ffffff", "#000000", 21}, {"#777777", "#ffffff", 4.48}, {"#767676", "#ffffff", 4.54}, {"#ff0000", "#ffffff", 4.00}, {"#0000ff", "#ffffff", 8.59}, {"#1f4f82", "#1f4f82", 1},
	} {
		a, _ := parseColour(c.a)
		b, _ := parseColour(c.b)
		if got := contrast(a, b); math.Abs(got-c.want) > 0.005 || got != contrast(b, a) {
			t.Errorf("%s on %s: %.3f, want %.2f", c.a, c.b, got, c.want)
		}
	}
}

func TestThemesAreChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		theme Theme
		want  map[string]string
	}{
		"ours":        {Theme{}, nil},
		"everything":  {Theme{Accent: "#8A4B00", Ground: "#fdf3e3", Corners: "soft", Font: "serif", Light: true}, nil},
		"a pale link": {Theme{Accent: "#ff9900"}, map[string]string{"accent": "links in #ff9900 have a contrast of 2.0 to 1, of at least 4.5; the nearest that can be read is #a36100"}},
		"a link on a coloured ground": {Theme{Accent: "#767676", Ground: "#f0f0f0"}, map[string]string{
			"accent": "links in #767676 have a contrast of 4.0 to 1, of at least 4.5; the nearest that can be read is #6d6d6d"}},
		"a dark ground": {Theme{Ground: "#222222"}, map[string]string{
			"ground": "text on #222222 has a contrast of 2.3 to 1, of at least 4.5; the nearest that can be read on is #d3d3d3"}},
		"no colours": {Theme{Accent: "red", Ground: "#fff"}, map[string]string{"accent": `"red" is no colour such as #1f4f82`, "ground": `"#fff" is no colour such as #1f4f82`}},
		"an injection": {Theme{Accent: "#12345}", Font: "x;}body{display:none", Corners: "9px"}, map[string]string{"accent": `"#12345}" is no colour such as #1f4f82`,
			"font": `"x;}body{display:none" is none of humanist, rounded, serif, system`, "corners": `"9px" is none of round, soft, square`}},
		"signs and blanks": {Theme{Accent: "#+12345", Ground: "# 12345"}, map[string]string{"accent": `"#+12345" is no colour such as #1f4f82`, "ground": `"# 12345" is no colour such as #1f4f82`}},
	} {
		if got := c.theme.Check(); !maps.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestEveryColourCanBeRead: of any colours, what is proposed passes, and what
// passes has a dark form that can be read.
func TestEveryColourCanBeRead(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	any := func() colour { n := r.Uint32(); return colour{uint8(n), uint8(n >> 8), uint8(n >> 16)} }
	for range 3000 {
		ground := any().towards(white, soft)
		accent := any().towards(black, white, ground)
		theme := Theme{Accent: accent.String(), Ground: ground.String()}
		if wrong := theme.Check(); len(wrong) > 0 {
			t.Fatalf("%s on %s: %v", accent, ground, wrong)
		}
		_, dark, ok := strings.Cut(string(theme.style(nil)), "@media (prefers-color-scheme:dark){:root{--accent:")
		if !ok || len(dark) < 20 {
			t.Fatalf("no dark form: %s", dark)
		}
		link, _ := parseColour(dark[:7])
		on, ok := parseColour(dark[13:20])
		if !ok || contrast(link, darkCard) < legible || contrast(link, darkGround) < legible || contrast(link, on) < legible {
			t.Fatalf("%s in the dark is %s with %s on it", accent, link, on)
		}
	}
}

// TestStyleOfThemes holds what is sent to what page.css has.
func TestStyleOfThemes(t *testing.T) {
	t.Parallel()
	base, err := files.ReadFile("static/page.css")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]colour{"--accent:": ours, "--ground:": ourGround, "--soft:": soft, "--card:": white} {
		if !strings.Contains(string(base[:strings.IndexByte(string(base), '\n')]), name) || !strings.Contains(strings.ReplaceAll(string(base), "#fff;", "#ffffff;"), name+value.String()) {
			t.Errorf("page.css has no %s%s", name, value)
		}
	}
	for _, value := range []string{"--card:" + darkCard.String(), "--ground:" + darkGround.String(), "--on:" + darkText.String(), "--radius:14px;--corner:10px"} {
		if !strings.Contains(string(base), value) {
			t.Errorf("page.css has no %s", value)
		}
	}
	full := Theme{Accent: "#8a4b00", Ground: "#fdf3e3", Corners: "soft", Font: "serif"}
	got, ok := strings.CutPrefix(string(full.style(base)), string(base))
	want := ":root{--accent:#8a4b00;--ground:#fdf3e3;--radius:6px;--corner:4px}\n" +
		"html{font-family:Charter,\"Bitstream Charter\",\"Sitka Text\",Cambria,serif}\n" +
		"@media (prefers-color-scheme:dark){:root{--accent:#ab7f4a;--on:#0e1822;--ground:#14171a}}\n"
	if !ok || got != want {
		t.Errorf("%q, want %q", got, want)
	}
	light := Theme{Light: true}
	if got := string(light.style(base)); strings.Contains(got, "prefers-color-scheme") || !strings.HasSuffix(got, ":root{--accent:#1f4f82;--ground:#f4f5f7;--radius:14px;--corner:10px}\n") {
		t.Errorf("%s", got[len(got)-200:])
	}
}

func TestLogos(t *testing.T) {
	t.Parallel()
	picture := func(w, h int, noise bool) image.Image {
		img := image.NewRGBA(image.Rect(0, 0, w, h))
		r := rand.New(rand.NewPCG(3, 4))
		for i := range img.Pix {
			img.Pix[i] = 0xff
			if noise && i%4 != 3 {
				img.Pix[i] = uint8(r.Uint32())
			}
		}
		return img
	}
	encoded := func(f func(b *bytes.Buffer) error) []byte {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	small := picture(160, 80, false)
	part := image.NewPaletted(image.Rect(10, 20, 170, 100), color.Palette{color.White}) // of a larger screen
	for kind, file := range map[string][]byte{
		"PNG":  encoded(func(b *bytes.Buffer) error { return png.Encode(b, small) }),
		"JPEG": encoded(func(b *bytes.Buffer) error { return jpeg.Encode(b, small, nil) }),
		"GIF":  encoded(func(b *bytes.Buffer) error { return gif.Encode(b, small, nil) }),
		"GIF that fills a part of its screen": encoded(func(b *bytes.Buffer) error {
			return gif.EncodeAll(b, &gif.GIF{Image: []*image.Paletted{part}, Delay: []int{0}, Config: image.Config{ColorModel: part.Palette, Width: 400, Height: 100}})
		}),
		"PNG with more behind it": append(encoded(func(b *bytes.Buffer) error { return png.Encode(b, small) }),
			"<script>alert(1)</script>"...),
	} {
		got, err := ReadLogo(file)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		again, err := png.Decode(bytes.NewReader(got.PNG))
		if err != nil || got.Width != 160 || got.Height != 80 || again.Bounds().Dx() != 160 || color.GrayModel.Convert(again.At(1, 1)) != (color.Gray{0xff}) || bytes.Contains(got.PNG, []byte("script")) {
			t.Errorf("%s: %d by %d, %v", kind, got.Width, got.Height, err)
		}
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"SVG":          {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), "is no picture in PNG, JPEG or GIF"},
		"nothing":      {nil, "is no picture in PNG, JPEG or GIF"},
		"cut off":      {encoded(func(b *bytes.Buffer) error { return png.Encode(b, small) })[:60], "is a picture that cannot be read to its end"},
		"huge":         {encoded(func(b *bytes.Buffer) error { return png.Encode(b, picture(1025, 1, false)) }), "is 1025 by 1 pixels, of at most 1024; 80 in height are enough"},
		"a photograph": {encoded(func(b *bytes.Buffer) error { return png.Encode(b, picture(200, 80, true)) }), "takes 49 kB as a PNG, of at most 7: take fewer pixels, 80 in height are enough, or fewer colours"},
		"a large file": {make([]byte, 256<<10+1), "is larger than 256 kB"},
	} {
		if _, err := ReadLogo(c.file); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestFilesOfThemes: a theme's files have addresses of their own, and a page of
// another version finds ours, which nobody keeps.
func TestFilesOfThemes(t *testing.T) {
	t.Parallel()
	s, err := NewStatic()
	if err != nil {
		t.Fatal(err)
	}
	ours := s.Path("page.css")
	style, logo := s.Dress(&Theme{Accent: "#8a4b00", Logo: &Logo{PNG: []byte("png")}})
	if style == ours || s.Path("page.css") != ours || s.Path("logo.png") != "" {
		t.Errorf("%s and %s", style, s.Path("page.css"))
	}
	for at, want := range map[string]struct{ status, kind, cache, has string }{
		style:                               {"200 OK", "text/css; charset=utf-8", "public, max-age=31536000, immutable", "#8a4b00"},
		logo:                                {"200 OK", "image/png", "public, max-age=31536000, immutable", "png"},
		"/static/page.0123456789ab.css":     {"200 OK", "text/css; charset=utf-8", "no-store", ":root"},
		"/static/page.0123456789ab.js":      {"200 OK", "text/javascript; charset=utf-8", "no-store", "{"},
		"/static/logo.0123456789ab.png":     {"404 Not Found", "text/plain; charset=utf-8", "", "not found"},
		"/static/nothing.0123456789ab.css":  {"404 Not Found", "text/plain; charset=utf-8", "", "not found"},
		"/static/page.0123456789abcdef.css": {"404 Not Found", "text/plain; charset=utf-8", "", "not found"},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, at, nil))
		res := w.Result()
		if res.Status != want.status || res.Header.Get("Content-Type") != want.kind || res.Header.Get("Cache-Control") != want.cache || !strings.Contains(w.Body.String(), want.has) {
			t.Errorf("%s: %s %v", at, res.Status, res.Header)
		}
	}
}
