// Package docs holds the documentation, so that the program can show the one
// that fits its version.
package docs

import "embed"

// Files are the pages, in Markdown. Names are those of this folder.
//
//go:embed *.md */*.md
var Files embed.FS
