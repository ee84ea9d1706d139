package itsme

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"sync"
)

// A photo is 200 by 140 pixels (§5), upright.
const photoHeight, photoWidth = 200, 140

// photo is everybody's: a head and shoulders.
var photo = sync.OnceValue(func() []byte {
	m := image.NewRGBA(image.Rect(0, 0, photoWidth, photoHeight))
	draw.Draw(m, m.Bounds(), image.NewUniform(color.Gray{0xe8}), image.Point{}, draw.Src)
	for _, part := range []struct{ x, y, rx, ry int }{{70, 80, 32, 42}, {70, 200, 62, 66}} {
		for y := range photoHeight {
			for x := range photoWidth {
				dx, dy := (x-part.x)*part.ry, (y-part.y)*part.rx
				if r := part.rx * part.ry; dx*dx+dy*dy <= r*r {
					m.Set(x, y, color.Gray{0x80})
				}
			}
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, &jpeg.Options{Quality: 50}); err != nil {
		panic(err) // a buffer takes everything
	}
	return out.Bytes()
})
