package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/fanout/door"
)

const openAPIPage = "../../docs/openapi.yaml"

// openAPI is the description, with what a client of it has asked for so far.
type openAPI struct {
	t    *testing.T
	doc  *openapi3.T
	seen map[string]bool // operation and status
}

func readOpenAPI(t *testing.T) *openAPI {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(openAPIPage)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	text := func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		b, err := io.ReadAll(body)
		return string(b), err
	}
	openapi3filter.RegisterBodyDecoder("application/protobuf", text)
	openapi3filter.RegisterBodyDecoder("text/event-stream", text)
	return &openAPI{t: t, doc: doc, seen: map[string]bool{}}
}

// ask asks a server and holds the question, unless it is wrong on purpose, and the
// answer against the description.
func (o *openAPI) ask(base, path, target string, header map[string]string, want int) {
	o.t.Helper()
	r, err := http.NewRequest(http.MethodGet, base+target, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var body []byte
	if answer.Header.Get("Content-Type") == "text/event-stream" {
		body = make([]byte, 256) // it does not end
		_, err = io.ReadFull(answer.Body, body)
	} else {
		body, err = io.ReadAll(answer.Body)
	}
	if err != nil || answer.StatusCode != want {
		o.t.Errorf("%s: %s %v %s, want %d", target, answer.Status, err, body, want)
		return
	}
	item := o.doc.Paths.Value(path)
	input := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: map[string]string{}, QueryParams: r.URL.Query(),
		Route:   &routers.Route{Spec: o.doc, Path: path, PathItem: item, Method: http.MethodGet, Operation: item.Get},
		Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if symbol, is := strings.CutPrefix(r.URL.Path, "/v1/books/"); is {
		input.PathParams["symbol"] = symbol
	}
	if err := openapi3filter.ValidateRequest(context.Background(), input); (err == nil) != (want != http.StatusBadRequest) {
		o.t.Errorf("%s is answered %d, and of the question the description says: %v", target, want, err)
	}
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: answer.StatusCode, Header: answer.Header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: input.Options,
	})
	if err != nil {
		o.t.Errorf("%s: %v\n%s", target, err, body)
	}
	o.seen[fmt.Sprint(path, " ", want)] = true
}

func TestOpenAPIDescribesWhatTheHandlersDo(t *testing.T) {
	o := readOpenAPI(t)
	if code, page := fanout.Paths(), slices.Sorted(maps.Keys(o.doc.Paths.Map())); !slices.Equal(code, page) {
		t.Errorf("the handlers serve %v, the description has %v", code, page)
	}
	l := newLab(t, 1)
	r := &exampleRun{t: t, lab: l, producer: l.producer()}
	steps := exampleSteps()
	r.produce(steps["beginning"])
	r.produce(steps["orders"])
	server := l.serve(func(_ *readFlags, s *serverFlags) { s.WholeReads, s.MaxRelays = 1, 1 })
	server.caughtUpTo(l)
	base := server.url()

	const books, symbols, status, events, poll = "/v1/books/{symbol}", "/v1/symbols", "/v1/status", "/v1/sse", "/v1/poll"
	protobuf, neither := map[string]string{"Accept": "application/protobuf"}, map[string]string{"Accept": "text/html"}
	book := "/v1/books/" + exampleSymbol
	for _, target := range []string{"", "?depth=0", "?depth=5&group=0.5&counts=1"} {
		o.ask(base, books, book+target, nil, http.StatusOK)
	}
	o.ask(base, books, "/v1/books/"+exampleStock+"?channel=orders&depth=1", nil, http.StatusOK)
	o.ask(base, books, book, protobuf, http.StatusOK)
	o.ask(base, books, book, map[string]string{"If-None-Match": "*"}, http.StatusNotModified)
	o.ask(base, books, book, neither, http.StatusNotAcceptable)
	o.ask(base, books, "/v1/books/SIM:NOPE", nil, http.StatusNotFound)
	o.ask(base, books, book+"?depth=deep", nil, http.StatusBadRequest)
	o.ask(base, books, book+"?channel=trades", nil, http.StatusBadRequest)
	o.ask(base, books, book+"?counts=yes", nil, http.StatusBadRequest)
	for range 3 {
		if _, err := http.Get(base + book + "?depth=0"); err != nil {
			t.Fatal(err)
		}
	}
	o.ask(base, books, book+"?depth=0", nil, http.StatusTooManyRequests)

	o.ask(base, symbols, symbols, nil, http.StatusOK)
	o.ask(base, symbols, symbols, protobuf, http.StatusOK)
	o.ask(base, symbols, symbols, map[string]string{"If-None-Match": "*"}, http.StatusNotModified)
	o.ask(base, symbols, symbols, neither, http.StatusNotAcceptable)
	o.ask(base, status, status, nil, http.StatusOK)
	o.ask(base, status, status, protobuf, http.StatusOK)
	o.ask(base, status, status, neither, http.StatusNotAcceptable)

	both := "?symbol=" + exampleSymbol + "&symbol=" + exampleStock + "&channel=book&channel=trades&channel=ticker&depth=10&last=5"
	for _, path := range []string{events, poll} {
		o.ask(base, path, path+both, nil, http.StatusOK)
		o.ask(base, path, path+"?symbol=SIM:NOPE", nil, http.StatusOK)
		for _, wrong := range []string{"&depth=deep", "&channel=gossip", "&policy=hope", "&counts=yes", "&interval_ms=-1"} {
			o.ask(base, path, path+"?symbol=A"+wrong, nil, http.StatusBadRequest)
		}
	}
	o.ask(base, events, events+"?resume="+url.QueryEscape("*"), nil, http.StatusBadRequest)
	o.ask(base, events, events+"?symbol=A", map[string]string{"Last-Event-ID": "*"}, http.StatusBadRequest)
	o.ask(base, poll, poll+"?cursor="+url.QueryEscape("*"), nil, http.StatusBadRequest)
	o.ask(base, poll, poll+"?symbol=A&wait_ms=30001", nil, http.StatusBadRequest)
	server.occupyRelay(l)
	o.ask(base, poll, poll+"?symbol="+exampleSymbol, nil, http.StatusServiceUnavailable)

	key, entry, err := door.NewEntry("alice", []string{exampleStock})
	if err != nil {
		t.Fatal(err)
	}
	guarded := l.serve(func(_ *readFlags, s *serverFlags) { s.AuthKeys = keyFile(t, "\n"+entry) })
	guarded.caughtUpTo(l)
	for path, target := range map[string]string{books: book, symbols: symbols, status: status, events: events + "?symbol=A", poll: poll + "?symbol=A"} {
		o.ask(guarded.url(), path, target, nil, http.StatusUnauthorized)
	}
	o.ask(guarded.url(), books, book, map[string]string{"Authorization": "Bearer " + key}, http.StatusForbidden)

	// What takes a fault of the server, one that has not caught up, or an address that
	// asks too often, to see.
	elsewhere := []string{
		books + " 500", books + " 503", symbols + " 429", symbols + " 500", symbols + " 503",
		status + " 429", status + " 500", status + " 503", events + " 429", events + " 503", poll + " 429",
	}
	for path, item := range o.doc.Paths.Map() {
		for code := range item.Get.Responses.Map() {
			if name := path + " " + code; !o.seen[name] && !slices.Contains(elsewhere, name) {
				t.Errorf("no question is answered as described under %s", name)
			}
		}
	}
}

// occupyRelay has a poll wait that takes the only relay, for as long as the test runs.
func (r *running) occupyRelay(l *lab) {
	r.t.Helper()
	answer, err := http.Get(r.url() + "/v1/poll?symbol=" + exampleStock)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var first struct {
		Cursor string `json:"cursor"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&first); err != nil {
		r.t.Fatal(err)
	}
	r.until("the end of the first poll", func() bool { return r.hub.Stats().Subscriptions == 0 })
	ctx, cancel := context.WithCancel(l.ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url()+"/v1/poll?wait_ms=30000&cursor="+first.Cursor, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if answer, err := http.DefaultClient.Do(request); err == nil { // cut off with the test
			_ = answer.Body.Close()
		}
	}()
	r.t.Cleanup(func() { cancel(); <-done })
	r.until("the second poll", func() bool { return r.hub.Stats().Subscriptions == 1 })
}

func TestOpenAPIBoundsWhatTheServerBounds(t *testing.T) {
	o := readOpenAPI(t)
	token := o.doc.Components.Schemas["ResumeToken"].Value.MaxLength
	topics := o.doc.Components.Parameters["symbols"].Value.Schema.Value.MaxItems
	if token == nil || *token != fanout.MaxResumeTokenBytes || topics == nil || *topics != fanout.MaxEventTopics {
		t.Errorf("tokens of %v bytes, %v topics", token, topics)
	}
}
