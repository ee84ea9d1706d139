package server

import (
	"context"
	"io"
	"log/slog"
)

func newLogger(c LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	if c.Level != "" {
		_ = level.UnmarshalText([]byte(c.Level)) // checked with the configuration
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(lines{slog.NewTextHandler(w, opts)})
	}
	return slog.New(lines{slog.NewJSONHandler(w, opts)})
}

// lines are those of a log: their times are UTC, and each that has to do with a
// request names it as its answer does, in X-Trace-Id.
type lines struct{ slog.Handler }

// Handle implements slog.Handler.
func (l lines) Handle(ctx context.Context, r slog.Record) error {
	r.Time = r.Time.UTC()
	if trace, ok := ctx.Value(traced{}).(string); ok {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", trace))
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l lines) WithAttrs(attrs []slog.Attr) slog.Handler { return lines{l.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (l lines) WithGroup(name string) slog.Handler { return lines{l.Handler.WithGroup(name)} }

// traced is the key of a request's trace id in its context.
type traced struct{}
