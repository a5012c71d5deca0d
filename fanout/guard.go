package fanout

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/proto"
)

// TokenSubprotocol begins the entry of Sec-WebSocket-Protocol that carries a token:
// the one header that a page can set on a WebSocket.
const TokenSubprotocol = "depthcast.token."

// DelayHeader of an answer says by how many milliseconds its books are late.
const DelayHeader = "Depthcast-Delay-Ms"

// Guard stands before everything that clients reach over HTTP. It finds out who asks,
// where proxies stand between, and whether that is too often for his address. It takes the token
// out of a request, wherever it is, so that nothing behind it can log it, and keeps
// it for Hub.identify. What it finds, in this order: Authorization: Bearer, an entry
// of Sec-WebSocket-Protocol, ?token=, a cookie.
type Guard struct {
	Hub *Hub

	// Cookie is the name of the cookie that may carry a token. Empty: none may.
	Cookie string

	// Origins are those of StreamHandler. A cookie counts only where the request has
	// no origin, our own, or one that is listed by name: "*" does not do, or any page
	// could use its visitor's cookie.
	Origins []string

	// Next answers.
	Next http.Handler

	// Log hears of requests, at debug level.
	Log *slog.Logger
}

func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 { // nothing here takes a body, and so none is waited for
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // a server that knows no deadlines waits
	}
	client := g.Hub.config.Proxies.Client(peer.AddrOf(r.RemoteAddr), r.Header)
	if !g.Hub.asking.Allow(client) {
		w.Header().Set("Retry-After", "1")
		httpError(w, http.StatusTooManyRequests, "rate_limited", "too many requests in too short a time")
		return
	}
	r, c := g.strip(r, client)
	path, _, _ := strings.Cut(r.URL.Path, "?") // escaped by mistake; a token may follow
	g.Log.Debug("request", "remote", r.RemoteAddr, "method", r.Method, "path", path, "credential", c.from)
	g.Hub.label(w.Header())
	g.Next.ServeHTTP(w, r)
}

// label says in the header of an answer how late the books are.
func (h *Hub) label(header http.Header) {
	if d := h.config.Delay; d > 0 {
		header.Set(DelayHeader, strconv.FormatInt(d.Milliseconds(), 10))
	}
}

// httpBurst is how many seconds' requests an address may make at once.
const httpBurst = 4

// credential is what a request brought to be admitted by.
type credential struct {
	token string
	from  string // where it was found; empty: there is none
}

type credentialKey struct{}

// clientOf returns the address of who asks. A Guard has put it into r.
func clientOf(r *http.Request) netip.Addr { return peer.AddrOf(r.RemoteAddr) }

// strip returns r as one of client, without its credentials, and with the one that
// counts in its context. What is given twice in one place is no valid token.
func (g *Guard) strip(r *http.Request, client netip.Addr) (*http.Request, credential) {
	var c credential
	clean := r.Clone(context.WithValue(r.Context(), credentialKey{}, &c))
	if client.IsValid() && client != clientOf(r) {
		clean.RemoteAddr = client.String()
	}
	found := func(token, from string) {
		if c.from == "" {
			c = credential{token, from}
		}
	}
	if all := r.Header.Values("Authorization"); len(all) > 0 {
		clean.Header.Del("Authorization")
		found(bearer(all), "header")
	}
	if token, kept, any := fromSubprotocols(r.Header.Values("Sec-Websocket-Protocol")); any {
		clean.Header["Sec-Websocket-Protocol"] = []string{strings.Join(kept, ", ")}
		found(token, "subprotocol")
	}
	if token, query, any := fromQuery(r.URL.RawQuery); any {
		clean.URL.RawQuery = query
		clean.RequestURI = clean.URL.RequestURI()
		found(token, "query")
	}
	if token, kept, any := g.fromCookies(r); any {
		clean.Header.Set("Cookie", kept)
		if originAllowed(r, g.Origins, false) {
			found(token, "cookie")
		}
	}
	return clean, c
}

// bearer returns the token of the only Authorization header.
func bearer(all []string) string {
	scheme, token, _ := strings.Cut(all[0], " ")
	if len(all) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// fromSubprotocols takes the entries with a token out of a list of subprotocols.
func fromSubprotocols(values []string) (token string, kept []string, any bool) {
	for _, v := range values {
		for entry := range strings.SplitSeq(v, ",") {
			entry = strings.TrimSpace(entry)
			t, is := strings.CutPrefix(entry, TokenSubprotocol)
			switch {
			case !is:
				kept = append(kept, entry)
			case any:
				token = ""
			default:
				token, any = t, true
			}
		}
	}
	return token, kept, any
}

// fromQuery takes the parameter token out of a query.
func fromQuery(query string) (token, kept string, any bool) {
	var rest []string
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err != nil || plain != "token" {
			rest = append(rest, part)
			continue
		}
		token, _ = url.QueryUnescape(value) // "", which is no valid token, where that is no text
		if any {
			token = ""
		}
		any = true
	}
	return token, strings.Join(rest, "&"), any
}

// fromCookies takes the cookie with the token out of the request's. kept is what
// the header is without it.
func (g *Guard) fromCookies(r *http.Request) (token, kept string, any bool) {
	if g.Cookie == "" || len(r.Header.Values("Cookie")) == 0 {
		return "", "", false
	}
	var rest []string
	for _, c := range r.Cookies() {
		switch {
		case c.Name != g.Cookie:
			rest = append(rest, c.Name+"="+c.Value)
		case any:
			token = ""
		default:
			token, any = c.Value, true
		}
	}
	return token, strings.Join(rest, "; "), any
}

// originAllowed says whether the request's origin may connect: none, our own, or
// one of origins, in which "*" stands for all if anyone is set. Only browsers send
// one, and they cannot be made to send another: this keeps foreign pages from using
// a visitor's address or cookies. Where we speak TLS ourselves, a page that came
// without is foreign: anybody on its way may have written it.
func originAllowed(r *http.Request, origins []string, anyone bool) bool {
	switch all := r.Header["Origin"]; {
	case len(all) == 0 || len(all) == 1 && all[0] == "":
		return true
	case len(all) > 1:
		return false
	case anyone && slices.Contains(origins, "*"), all[0] != "*" && slices.Contains(origins, all[0]):
		return true
	}
	u, err := url.Parse(r.Header["Origin"][0])
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) && (u.Scheme == "https" || u.Scheme == "http" && r.TLS == nil)
}

var (
	// errNoToken says that a request came without a token.
	errNoToken = errors.New("fanout: no token")
	// errUserFull says that the user of a token has as many connections as it grants.
	errUserFull = errors.New("fanout: as many connections as the token grants")
)

// admitWithin bounds the checking of one token.
const admitWithin = 5 * time.Second

// identify returns what the request's token grants: everything, as nil, where the
// hub has no gate. The error wraps ErrToken or ErrGate, or is errNoToken. The
// request must have come by way of a Guard.
func (h *Hub) identify(r *http.Request) (*Grant, error) {
	if h.config.Gate == nil {
		return nil, nil
	}
	c, _ := r.Context().Value(credentialKey{}).(*credential)
	switch {
	case c == nil || c.from == "":
		return nil, errNoToken
	case c.token == "" || len(c.token) > proto.MaxTokenBytes:
		return nil, ErrToken
	}
	ctx, cancel := context.WithTimeout(r.Context(), admitWithin)
	defer cancel()
	g, err := h.config.Gate.Admit(ctx, c.token)
	if err != nil {
		h.config.Log.Debug("token refused", "remote", r.RemoteAddr, "credential", c.from, "err", err)
		return nil, err
	}
	return g, nil
}

// enter is identify for what is a connection: it counts among those of its user,
// from which users.leave takes it, or whoever Accept gives it to. Its error may be
// errUserFull too.
func (h *Hub) enter(r *http.Request) (*Grant, error) {
	g, err := h.identify(r)
	if err == nil && !h.users.enter(g) {
		return nil, errUserFull
	}
	return g, err
}

// entitled is identify for a plain question; where that fails it answers, and
// returns false.
func (h *Hub) entitled(w http.ResponseWriter, r *http.Request) (*Grant, bool) {
	g, err := h.identify(r)
	return g, letIn(w, err)
}
