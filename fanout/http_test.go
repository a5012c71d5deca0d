package fanout

import (
	"io"
	"net/http"
	"strings"
	"testing"

	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// readable answers ReadView with an empty book of any symbol but NONE.
type readable struct{ *testBooks }

func (readable) ReadView(key proto.TopicKey, s *proto.Snapshot) error {
	switch key.Symbol {
	case "NONE":
		return proto.ErrUnknownSymbol
	case "LATER":
		return proto.ErrNotReady
	}
	*s = proto.Snapshot{Symbol: key.Symbol, State: proto.Live, Phase: proto.Continuous, Seq: int64(key.View.Depth)}
	return nil
}

func TestBookIsReadOverHTTPByAnyName(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Books = readable{newTestBooks()} })
	d := r.open(false)
	for path, want := range map[string]struct {
		status int
		says   string
	}{
		"SIM:A":                    {http.StatusOK, `"symbol":"SIM:A","epoch":"0000000000000000","seq":"10"`},
		"KRAKEN:XBT/USD?depth=100": {http.StatusOK, `"symbol":"KRAKEN:XBT/USD","epoch":"0000000000000000","seq":"100"`},
		"KRAKEN:XBT%2FUSD?depth=0": {http.StatusOK, `"symbol":"KRAKEN:XBT/USD","epoch":"0000000000000000","seq":"0"`},
		"A%22B":                    {http.StatusOK, `"symbol":"A\"B"`},
		"SIM:A?depth=-1":           {http.StatusBadRequest, `"code":"bad_request"`},
		"SIM:A?depth=4294967296":   {http.StatusBadRequest, `"code":"bad_request"`},
		"SIM:A?depth=1e3":          {http.StatusBadRequest, `"code":"bad_request"`},
		"SIM:A?group=0.5":          {http.StatusOK, `"symbol":"SIM:A"`},
		"SIM:A?group=half":         {http.StatusBadRequest, `"code":"bad_view"`},
		"SIM:A?group=0":            {http.StatusBadRequest, `"code":"bad_view"`},
		"NONE":                     {http.StatusNotFound, `"code":"unknown_symbol"`},
		"LATER":                    {http.StatusServiceUnavailable, `"code":"not_ready"`},
	} {
		status, _, body := d.request("GET /v1/books/" + path + " HTTP/1.1\nHost: a\nConnection: close\n\n")
		if status != want.status || !strings.Contains(body, want.says) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func TestPlainAnswersComeOverHTTP2Too(t *testing.T) {
	r := newRig(t, nil, btc)
	r.book(btc).publish(seeded(1), 5)
	d := r.open(true)
	web := d.client2()
	for path, says := range map[string]string{
		"/v1/symbols":      `"symbol":"` + btc + `"`,
		"/v1/status":       `"caught_up":true`,
		"/v1/books/" + btc: `"type":"snapshot"`,
		"/v1/poll?symbol=" + btc + "&wait_ms=30000": `"type":"snapshot"`,
	} {
		answer, err := web.Get(d.secureURL() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.ProtoMajor != 2 || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), says) {
			t.Errorf("%s: %s %s %v: %s", path, answer.Proto, answer.Status, err, body)
		}
	}
}

func TestPlainAnswersAreJSONOrProtobufAndKeptByTheirTag(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Books = readable{newTestBooks()} })
	d := r.open(false)
	ask := func(path string, headers ...string) (int, http.Header, string) {
		return d.request("GET " + path + " HTTP/1.1\nHost: a\n" + strings.Join(append(headers, "Connection: close"), "\n") + "\n\n")
	}
	for _, path := range []string{"/v1/books/SIM:A", "/v1/symbols"} {
		tags := map[string]bool{}
		for accept, kind := range map[string]string{
			"*/*": "application/json", "text/html, */*;q=0.1": "application/json", "application/json;q=0.5, application/x-protobuf": "application/protobuf",
			"application/protobuf;q=0.2, application/*;q=0.3": "application/json", "": "application/json",
			// What is said of a type counts, not what is said of all.
			"application/json;q=0, */*": "application/protobuf", "*/*, application/json;q=0.1": "application/protobuf",
			"application/json;q=0.9, */*;q=0.8": "application/json", "application/*, application/protobuf;q=0": "application/json",
		} {
			status, header, body := ask(path, "Accept: "+accept)
			tag := header.Get("ETag")
			if status != http.StatusOK || header.Get("Content-Type") != kind || tag == "" || header.Get("Vary") != "Accept" {
				t.Errorf("%s as %s: %d %v %q", path, accept, status, header, body)
			}
			tags[tag] = true
			if status, header, body = ask(path, "Accept: "+accept, `If-None-Match: "other", W/`+tag); status != http.StatusNotModified || body != "" || header.Get("ETag") != tag {
				t.Errorf("%s as %s, which it has: %d %q", path, accept, status, body)
			}
		}
		if len(tags) != 2 {
			t.Errorf("%s: tags %v of two forms", path, tags)
		}
	}
	for accept, want := range map[string]int{"text/html": 406, "application/json;q=0": 406, "application/protobuf": 200, "*/*;q=0": 406, "application/json;q=7": 406} {
		if status, _, body := ask("/v1/status", "Accept: "+accept); status != want {
			t.Errorf("status as %s: %d %s", accept, status, body)
		}
	}
	_, _, body := ask("/v1/books/SIM:A?depth=5", "Accept: application/protobuf")
	var f pb.Frame
	if err := googleproto.Unmarshal([]byte(body), &f); err != nil || f.GetSnapshot().GetSeq() != 5 {
		t.Errorf("%v %v", err, &f)
	}
	_, _, body = ask("/v1/books/SIM:A?depth=5&channel=orders")
	if !strings.Contains(body, `"seq":"5"`) {
		t.Errorf("orders: %s", body)
	}
	if status, _, body := ask("/v1/books/SIM:A?channel=trades"); status != http.StatusBadRequest {
		t.Errorf("trades as a book: %d %s", status, body)
	}
	_, _, body = ask("/v1/status")
	if want := `"server":"depthcast","time":"1700000000000000000","caught_up":true,"draining":false`; !strings.Contains(body, want) {
		t.Errorf("status: %s", body)
	}
}

func TestWholeBooksAreReadOnlySoOften(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Books, c.WholeReads = readable{newTestBooks()}, 1 })
	d := r.open(false)
	refused := 0
	for range 20 {
		status, header, body := d.request("GET /v1/books/SIM:A?depth=0 HTTP/1.1\nHost: a\nConnection: close\n\n")
		if status == http.StatusTooManyRequests && header.Get("Retry-After") == "1" && strings.Contains(body, `"rate_limited"`) {
			refused++
		} else if status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		if status, _, body := d.request("GET /v1/books/SIM:A?depth=1000 HTTP/1.1\nHost: a\nConnection: close\n\n"); status != http.StatusOK {
			t.Fatalf("a part of a book: %d %s", status, body)
		}
	}
	if n := r.hub.Stats().WholeReadsRefused; refused == 0 || n != uint64(refused) {
		t.Errorf("20 whole books at once, where 2 are allowed: %d refused, %d counted", refused, n)
	}
}
