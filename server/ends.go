package server

import (
	"context"
	"log/slog"
	"math"
	"time"
)

// soon is how long before an end "eidgate check" warns of it.
const soon = 60 * 24 * time.Hour

// marks are how many days before an end the log speaks of it, and the end itself.
var marks = []int{60, 30, 14, 7, 1, 0}

// An ending is one certificate, or the last key of a use.
type ending struct {
	holder
	use string
}

// watchEnds tells the log of certificates and keys that end, until ctx ends.
func (c *core) watchEnds(ctx context.Context) error {
	told := map[ending]int{}
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		c.tellEnds(ctx, told)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// tellEnds logs each end that has passed another mark than was told of before,
// and notes how many it has passed.
func (c *core) tellEnds(ctx context.Context, told map[ending]int) {
	for h, a := range c.agreements {
		for use, at := range a.ends {
			left, passed := at.Sub(c.now()), 0
			for passed < len(marks) && left <= time.Duration(marks[passed])*24*time.Hour {
				passed++
			}
			e := ending{h, use}
			if passed <= told[e] {
				continue
			}
			told[e] = passed
			level := slog.LevelWarn
			if left <= 24*time.Hour {
				level = slog.LevelError
			}
			c.log.LogAttrs(ctx, level, "a certificate or key ends", slog.Time("at", at), slog.Int("days_left", int(math.Floor(left.Hours()/24))), slog.String("use", use),
				slog.String("eid", string(h.eid)), slog.String("environment", string(h.env)), slog.String("account", h.account), slog.String("config", h.config))
		}
	}
}
