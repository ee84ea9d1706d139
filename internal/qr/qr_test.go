package qr_test

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"eidgate/internal/need"
	"eidgate/internal/qr"
)

// bankID has the shape and length of an animated BankID code.
const bankID = "bankid.67df3917-fa0d-44e5-b327-edcc928297f8.59.dc69358e712458a66a7525beef148ae8526b1c71610eff2c16cdffb4cdac9bf8"

// A frame is sent again every second of a login: at most 2 kB compressed.
func TestFrameSize(t *testing.T) {
	t.Parallel()
	svg, err := qr.SVG(bankID, "QR code for BankID")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(svg); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d compressed", len(svg), b.Len())
	if b.Len() > 2048 {
		t.Errorf("a frame has %d bytes compressed, want at most 2048", b.Len())
	}
}

func TestReadBack(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"bankid": bankID,
		"link":   "https://eid.example.com/s/1?a=b&c=d",
		"one":    "x",
	} {
		pic, err := qr.PNG(content, 4)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, pic); got != content {
			t.Errorf("%s: PNG reads %q, want %q", name, got, content)
		}
		svg, err := qr.SVG(content, name)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, raster(t, svg, 4)); got != content {
			t.Errorf("%s: SVG reads %q, want %q", name, got, content)
		}
	}
}

func TestTitleIsEscaped(t *testing.T) {
	t.Parallel()
	const title = `</title><script>"&'`
	svg, err := qr.SVG("x", title)
	if err != nil {
		t.Fatal(err)
	}
	if got := parse(t, svg); got.Title != title || got.Role != "img" || got.Rendering != "crispEdges" {
		t.Errorf("title %q, role %q, rendering %q", got.Title, got.Role, got.Rendering)
	}
	if bytes.Contains(svg, []byte("<script")) {
		t.Error("the title became markup")
	}
}

func TestTooLong(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3000)
	if _, err := qr.SVG(long, ""); err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("SVG of 3000 bytes: %v", err)
	}
	if _, err := qr.PNG(long, 1); err == nil {
		t.Error("PNG of 3000 bytes succeeded")
	}
}

type drawing struct {
	ViewBox   string `xml:"viewBox,attr"`
	Role      string `xml:"role,attr"`
	Rendering string `xml:"shape-rendering,attr"`
	Title     string `xml:"title"`
	Path      struct {
		D string `xml:"d,attr"`
	} `xml:"path"`
}

func parse(t *testing.T, svg []byte) drawing {
	t.Helper()
	var d drawing
	if err := xml.Unmarshal(svg, &d); err != nil {
		t.Fatalf("SVG is not XML: %v", err)
	}
	return d
}

// raster fills the path as a browser does: "M x y" and "m dx 0" set where a run
// begins, "h n v1 h-n z" is the run, and z returns to its beginning.
func raster(t *testing.T, svg []byte, scale int) []byte {
	t.Helper()
	d := parse(t, svg)
	var side, x, y int
	if _, err := fmt.Sscanf(d.ViewBox, "0 0 %d", &side); err != nil {
		t.Fatal(err)
	}
	img := image.NewGray(image.Rect(0, 0, side*scale, side*scale))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	for _, run := range strings.Split(strings.TrimSuffix(d.Path.D, "z"), "z") {
		var a, b, n, back int
		switch run[0] {
		case 'M':
			if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-%d", &x, &y, &n, &back); err != nil {
				t.Fatalf("%q: %v", run, err)
			}
		case 'm':
			if _, err := fmt.Sscanf(run, "m%d %dh%dv1h-%d", &a, &b, &n, &back); err != nil {
				t.Fatalf("%q: %v", run, err)
			}
			x, y = x+a, y+b
		default:
			t.Fatalf("path has %q", run)
		}
		if n != back {
			t.Fatalf("%q does not close", run)
		}
		for py := y * scale; py < (y+1)*scale; py++ {
			for px := x * scale; px < (x+n)*scale; px++ {
				img.SetGray(px, py, color.Gray{})
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read asks zbarimg, which shares no code with us, what a picture says.
func read(t *testing.T, pic []byte) string {
	t.Helper()
	tool := need.Program(t, "zbarimg")
	file := filepath.Join(t.TempDir(), "code.png")
	if err := os.WriteFile(file, pic, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool, "--quiet", "--raw", "-Sbinary", file).Output()
	if err != nil {
		t.Fatalf("zbarimg: %v", err)
	}
	return strings.TrimSuffix(string(out), "\n")
}
