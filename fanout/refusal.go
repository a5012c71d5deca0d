package fanout

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
)

// refusal is how a request that is not let in is answered.
type refusal struct {
	status int
	code   string // of the answer in JSON; a handshake is answered by the text alone
	text   string
	header http.Header
}

// refusalOf returns that for an error of Hub.enter, occupy or openRelay. Why a token is not
// valid is not said. To a server that takes over one may come back soon, to a full one
// not all at once, as they may be very many.
func refusalOf(err error) refusal {
	after := func(s string) http.Header { return http.Header{"Retry-After": {s}} }
	later := strconv.Itoa(5 + rand.IntN(6))
	switch {
	case errors.Is(err, ErrToken), errors.Is(err, errNoToken):
		return refusal{http.StatusUnauthorized, "unauthenticated", "a valid token is needed", http.Header{"Www-Authenticate": {"Bearer"}}}
	case errors.Is(err, ErrGate):
		return refusal{http.StatusServiceUnavailable, "overloaded", "tokens cannot be checked now", after("5")}
	case errors.Is(err, errUserFull):
		return refusal{http.StatusTooManyRequests, "too_many_connections", "as many connections as the token grants", after("5")}
	case errors.Is(err, ErrAddress):
		return refusal{http.StatusTooManyRequests, "too_many_connections", "as many connections as one address may have", after(later)}
	case errors.Is(err, ErrClosed):
		return refusal{http.StatusServiceUnavailable, "draining", "the server is stopping", after("1")}
	}
	return refusal{http.StatusServiceUnavailable, "overloaded", "as many connections as configured", after(later)}
}

// handshake is r for one that wants a WebSocket.
func (r refusal) handshake() *handshakeRefusal { return &handshakeRefusal{r.status, r.text, r.header} }

// letIn reports whether err, of those that refusalOf knows, is none. Else it answers.
func letIn(w http.ResponseWriter, err error) bool {
	if err == nil {
		return true
	}
	no := refusalOf(err)
	maps.Copy(w.Header(), no.header)
	httpError(w, no.status, no.code, no.text)
	return false
}
