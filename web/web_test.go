package web

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestPageIsOnlyRead(t *testing.T) {
	for method, status := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "TRACE": 405, "OPTIONS": 405, "DELETE": 405} {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest(method, "/", nil))
		if w.Code != status || status == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s is answered %d, allowed is %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

// The tests of the client library (web/test) run in Node.js, on the bundle that the
// page loads.
func TestClientLibraryKeepsItsPromises(t *testing.T) {
	version, err := exec.Command("node", "--version").Output()
	if err != nil {
		t.Skip("no Node.js on this machine")
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(version), "v%d.%d.", &major, &minor); err != nil || major < 20 || major == 20 && minor < 11 {
		t.Skipf("Node.js is %q, the tests need v20.11", version)
	}
	files, err := filepath.Glob("test/*.test.js")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in web/test: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", append([]string{"--test", "--test-reporter=spec"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
