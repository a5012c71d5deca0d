// Package web holds the page that the server shows at /: a live ladder of one
// symbol, and the client library for browsers that it is written with (docs/browser.md).
// Both are TypeScript; what is embedded is made of it by `make generate`.
package web

import (
	"embed"
	"net/http"
)

//go:embed index.html page.css js/client.js js/page.js
var files embed.FS

// Handler serves the page and its files. Nothing is loaded from elsewhere, and
// nothing inline runs.
func Handler() http.Handler {
	serve := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "the page is only read", http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		serve.ServeHTTP(w, r)
	})
}
