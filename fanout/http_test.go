package fanout

import (
	"net/http"
	"strings"
	"testing"

	"github.com/depthcast/depthcast/proto"
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
