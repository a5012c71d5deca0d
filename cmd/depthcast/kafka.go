package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/depthcast/depthcast/ingest"
)

// The Kafka topics of depthcast's own.
const (
	eventsTopic     = "depthcast.events"
	deadLetterTopic = "depthcast.deadletter"
)

// kafkaFlags say how to reach a Kafka cluster.
type kafkaFlags struct {
	Brokers      []string      `help:"Kafka brokers to start from, host:port." default:"127.0.0.1:9092" placeholder:"HOST:PORT"`
	KafkaTLS     bool          `help:"Encrypt connections to Kafka." name:"kafka-tls"`
	KafkaCA      string        `help:"PEM file with the certificates that Kafka's must descend from; implies --kafka-tls. Default: the system's." name:"kafka-ca" type:"existingfile" placeholder:"FILE"`
	KafkaCert    string        `help:"PEM file with the certificate to show to Kafka; with --kafka-key." name:"kafka-cert" type:"existingfile" placeholder:"FILE"`
	KafkaKey     string        `help:"PEM file with its key." name:"kafka-key" type:"existingfile" placeholder:"FILE"`
	SASL         string        `help:"SASL mechanism for Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512." name:"sasl" enum:",PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" default:"" placeholder:"MECHANISM"`
	SASLUser     string        `help:"SASL user." name:"sasl-user" placeholder:"USER"`
	SASLPassword ingest.Secret `help:"SASL password; better as DEPTHCAST_SASL_PASSWORD, which other users of the machine do not see." name:"sasl-password" placeholder:"PASSWORD"`
	KafkaTimeout time.Duration `help:"How long a question to Kafka may take before it is an error." default:"5s" name:"kafka-timeout"`
}

// connect reaches the cluster, or says within seconds why not.
func (f *kafkaFlags) connect(ctx context.Context) (*ingest.Cluster, error) {
	if (f.SASL == "") != (f.SASLUser == "") {
		return nil, fmt.Errorf("--sasl and --sasl-user go together")
	}
	c := ingest.KafkaConfig{
		Brokers:        f.Brokers,
		ClientID:       "depthcast",
		SASL:           ingest.SASL{Mechanism: f.SASL, User: f.SASLUser, Password: f.SASLPassword},
		RequestTimeout: f.KafkaTimeout,
	}
	if f.KafkaTLS || f.KafkaCA != "" || f.KafkaCert != "" {
		var err error
		if c.TLS, err = f.tls(); err != nil {
			return nil, err
		}
	}
	return ingest.Connect(ctx, c)
}

func (f *kafkaFlags) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.KafkaCA != "" {
		pem, err := os.ReadFile(f.KafkaCA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--kafka-ca %s holds no certificate in PEM form", f.KafkaCA)
		}
	}
	if (f.KafkaCert == "") != (f.KafkaKey == "") {
		return nil, fmt.Errorf("--kafka-cert and --kafka-key go together")
	}
	if f.KafkaCert != "" {
		cert, err := tls.LoadX509KeyPair(f.KafkaCert, f.KafkaKey)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
