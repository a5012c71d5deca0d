package feed

import (
	"crypto/tls"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Security is how a feed connects to its brokers. The zero value: plainly.
type Security struct {
	TLS       *tls.Config // nil: no encryption
	Mechanism string      // of SASL: "", "PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512"
	User      string
	Password  string
}

// options are those of the Kafka client.
func (s *Security) options() (opts []kgo.Opt, err error) {
	if s.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(s.TLS.Clone()))
	}
	var m sasl.Mechanism
	switch s.Mechanism {
	case "":
		return opts, nil
	case "PLAIN":
		m = plain.Auth{User: s.User, Pass: s.Password}.AsMechanism()
	case "SCRAM-SHA-256":
		m = scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		m = scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism()
	default:
		return nil, fmt.Errorf("%w: SASL mechanism %q", ErrConfig, s.Mechanism)
	}
	return append(opts, kgo.SASL(m)), nil
}
