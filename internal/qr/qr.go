// Package qr draws QR codes for pages: as SVG that stays small when it is sent
// again every second, and as PNG for those who want a picture.
package qr

import (
	"bytes"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"strconv"
	"sync"

	"rsc.io/qr/coding"
)

// quiet is the empty border that readers need, in modules (ISO/IEC 18004).
const quiet = 4

// SVG draws content at the lowest level of error correction: a screen is not
// torn, and fewer modules read faster. title is what a screen reader says; the
// size on the page is the stylesheet's affair. Content that no code can hold,
// above 2953 bytes, is an error.
func SVG(content, title string) ([]byte, error) {
	code, err := encode(content)
	if err != nil {
		return nil, err
	}
	size := strconv.Itoa(code.Size + 2*quiet)
	b := make([]byte, 0, 400+4*code.Size*code.Size) // a run is 15 bytes, and half of the modules begin none
	b = append(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 `+size+" "+size+
		`" role="img" shape-rendering="crispEdges"><title>`+html.EscapeString(title)+
		`</title><rect width="`+size+`" height="`+size+`" fill="#fff"/><path d="`...)
	for y := range code.Size {
		b = row(b, code, y)
	}
	return append(b, `"/></svg>`...), nil
}

// runs are the black runs by their length: right, down, left and back.
var runs = func() (all [178]string) { // a side of the largest code has 177 modules
	for n := range all {
		all[n] = fmt.Sprintf("h%dv1h-%dz", n, n)
	}
	return all
}()

// row appends the black runs of a row: one absolute move, then relative ones.
func row(b []byte, code *coding.Code, y int) []byte {
	pen := -1 // where the last run ended; -1 before the first
	for x := 0; x < code.Size; x++ {
		if !code.Black(x, y) {
			continue
		}
		start := x
		for x < code.Size && code.Black(x, y) {
			x++
		}
		if pen < 0 {
			b = number(number(b, "M", start+quiet), " ", y+quiet)
		} else {
			b = append(number(b, "m", start-pen), " 0"...)
		}
		b = append(b, runs[x-start]...)
		pen = start // closing a run returns to where it began
	}
	return b
}

func number(b []byte, before string, n int) []byte {
	return strconv.AppendInt(append(b, before...), int64(n), 10)
}

// PNG draws content with scale pixels a module, at least 1.
func PNG(content string, scale int) ([]byte, error) {
	code, err := encode(content)
	if err != nil {
		return nil, err
	}
	scale = max(scale, 1)
	side := (code.Size + 2*quiet) * scale
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			if code.Black(x/scale-quiet, y/scale-quiet) {
				img.SetColorIndex(x, y, 1)
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return nil, fmt.Errorf("encode png: %w", err)
	}
	return b.Bytes(), nil
}

// plans say where in a code of each version its bits go. Codes of one length,
// as of a login, share one.
var plans = func() (all [coding.MaxVersion + 1]func() (*coding.Plan, error)) {
	for v := range all {
		all[v] = sync.OnceValues(func() (*coding.Plan, error) { return coding.NewPlan(coding.Version(v), coding.L, 0) })
	}
	return all
}()

func encode(content string) (*coding.Code, error) {
	var text coding.Encoding = coding.String(content)
	if digits := coding.Num(content); digits.Check() == nil {
		text = digits
	} else if capitals := coding.Alpha(content); capitals.Check() == nil {
		text = capitals
	}
	v := coding.Version(coding.MinVersion)
	for text.Bits(v) > v.DataBytes(coding.L)*8 {
		if v++; v > coding.MaxVersion {
			return nil, fmt.Errorf("encode qr code of %d bytes: too long", len(content))
		}
	}
	plan, err := plans[v]()
	if err != nil {
		return nil, fmt.Errorf("plan qr code of version %d: %w", v, err)
	}
	code, err := plan.Encode(text)
	if err != nil {
		return nil, fmt.Errorf("encode qr code of %d bytes: %w", len(content), err)
	}
	return code, nil
}
