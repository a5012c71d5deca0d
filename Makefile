# Everything a developer runs. `make help` lists it.
# build, run and test need only Go (tests of what browsers run use Node.js 20 and Chromium where they are there); check adds a C compiler (for -race); test-kafka and bench-ingest add Java 17 and Maven.

# Tools run at these versions and stay out of go.mod; protoc-gen-go has the version of go.mod's protobuf.
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.1
BUF         := go run github.com/bufbuild/buf/cmd/buf@v1.73.0
ESBUILD     := go run github.com/evanw/esbuild/cmd/esbuild@v0.28.2
GOSEC       := go run github.com/securego/gosec/v2/cmd/gosec@v2.29.0
GOVULNCHECK := go run golang.org/x/vuln/cmd/govulncheck@v1.8.0

ARGS        ?=
BENCH       ?= .
BENCHTIME   ?= 1s
FUZZTIME    ?= 60s
KAFKA_TESTS ?= EndToEnd|Kafka
SURVIVE_ROUNDS ?= 200
PACKAGES    ?= ./...

export CGO_ENABLED := 0
# Go refuses to build where git cannot answer (another user's checkout): then there is no revision to stamp.
export GOFLAGS := $(strip $(GOFLAGS) $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false))

.DEFAULT_GOAL := build

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build run
build: ## build bin/depthcast
	go build -o bin/depthcast ./cmd/depthcast

run: build ## start the demo: embedded broker, simulated market, http://localhost:8080 (ARGS=flags)
	@exec bin/depthcast demo $(ARGS)

.PHONY: test test-long test-kafka test-dialects survive truth bench bench-book bench-ingest bench-delivery bench-memory bench-compare bench-attack bench-100k fuzz
test: ## run every test that needs only Go
	go test -timeout 20m $(PACKAGES)

test-long: ## the tests of slow readers at their full sizes: 1,000 and 5,000 frozen; some minutes, 1 GiB
	DEPTHCAST_LONG=1 go test -count=1 -timeout 20m -run 'Frozen|AtATenth' -v ./fanout

test-kafka: ## run the end-to-end tests against real Apache Kafka (KAFKA_TESTS=pattern), one package at a time
	.ci/kafka/test -count=1 -p 1 -timeout 20m -run '$(KAFKA_TESTS)' $(PACKAGES)

test-dialects: ## compare the books that ccxt (PyPI) builds from the exchange dialects with our own; needs Python 3
	.ci/dialects/test

survive: ## kill the server under load SURVIVE_ROUNDS=200 times, compare it each time with one that was never stopped
	DEPTHCAST_SURVIVE_ROUNDS=$(SURVIVE_ROUNDS) go test -count=1 -timeout 2h -run '^TestKafkaKilledProcess' -v ./cmd/depthcast

truth: ## compare books with what the recordings say of them, print the table of docs/truth.md; fails if a figure falls
	.ci/truth

bench: ## run the benchmarks (BENCH=pattern BENCHTIME=1s PACKAGES=./...)
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem $(PACKAGES)

bench-book: ## what books cost: levels, orders, records, single ones, the path to a frame, memory; beside alternatives
	go test -run '^$$' -bench 'SetLevel|OrderMessage|RecordOrders|Index' -benchtime 300000x -count 3 -timeout 30m ./book
	go test -run '^$$' -bench 'Memory' -benchtime 1x ./book
	go test -run '^$$' -bench 'Apply|Path' -benchtime 100000x -count 3 -timeout 30m ./cmd/depthcast
	go test -run '^$$' -bench 'Delta10Levels' -count 3 ./proto

bench-ingest: ## CPU per event read from real Apache Kafka into books, beside reading alone, on one processor
	.ci/kafka/test -run '^$$' -bench '^BenchmarkIngest$$' -benchtime 1x -count 3 -cpu 1 -timeout 20m ./cmd/depthcast

bench-delivery: build ## CPU per delivery beside a loop over send(2); fails above 1.12 times that (ARGS=flags)
	go run ./bench delivery --max-ratio 1.12 $(ARGS)

bench-memory: build ## resident memory per idle connection, plain and TLS, and per further subscription; fails above 1 and 10 KiB, and 96 bytes (ARGS=flags)
	go run ./bench memory --max-bytes 1024 --per-conn 20 --max-further 96 $(ARGS)
	go run ./bench memory --max-bytes 10240 --conns 9000 --tls $(ARGS)

bench-compare: build ## depthcast beside other servers and a loop over send(2), the table of docs/performance.md; fails above 1.10 times that loop (ARGS=flags)
	go run ./bench compare --max-ratio 1.10 $(ARGS)

bench-attack: build ## attack a server in twelve ways beside 1,000 honest subscribers, the table of docs/security.md; fails when they notice (ARGS=flags)
	go run ./bench attack $(ARGS)

bench-100k: build ## 100,000 connections on this machine: a broker, a feed, servers that share a port, client processes (ARGS=flags)
	go run ./bench fleet --conns 100000 $(ARGS)

fuzz: ## run every fuzz target for FUZZTIME=60s (PACKAGES=./...)
	.ci/fuzz $(FUZZTIME) $(PACKAGES)

.PHONY: conformance test-proxies
conformance: ## hold the WebSocket layer against Autobahn's Testsuite, as it is, with TLS, compressed; some 25 minutes (CASES=6.*; needs Python 2.7)
	.ci/conformance $(CASES)

test-proxies: ## run the tests behind real NGINX and HAProxy, with the configurations of deploy/
	.ci/proxies

.PHONY: check fmt vet lint security wire bundle tidy imports race types
check: fmt vet lint security wire bundle tidy imports race ## everything that must hold before a change goes in

fmt: ## fail when gofmt would change a file
	@files=$$(find . -name node_modules -prune -o -name '*.go' -print | xargs gofmt -l) && \
	if [ -n "$$files" ]; then echo "gofmt -w these:" $$files; exit 1; fi

vet: ## go vet, with and without the invariant assertions
	go vet ./...
	go -C bench/peers vet ./...
	go vet -tags verify ./...

lint: ## staticcheck, with and without the invariant assertions
	$(STATICCHECK) ./...
	$(STATICCHECK) -tags verify ./...

security: ## gosec; what it must excuse is in .ci/gosec, with reasons
	GOSEC='$(GOSEC)' .ci/gosec

wire: ## lint the .proto files; fail when they break the released wire or the generated code is out of date
	$(BUF) lint proto
	$(BUF) breaking proto --against proto/released
	BUF='$(BUF)' .ci/generated

bundle: ## fail when web/js is not what esbuild makes of web/*.ts
	ESBUILD='$(ESBUILD)' .ci/web check

tidy: ## fail when `go mod tidy` would change go.mod or go.sum
	go mod tidy -diff

imports: ## fail when a package imports what it must not
	go test -count=1 -run '^TestImport' ./cmd/depthcast

types: ## check the types of web/*.ts; needs npm and its registry (not part of check)
	npm --prefix web ci --ignore-scripts --no-audit --no-fund
	web/node_modules/.bin/tsc -p web

race: ## all tests with the race detector and the invariant assertions
	CGO_ENABLED=1 go test -race -tags verify -timeout 25m $(PACKAGES)

.PHONY: vulnerabilities
vulnerabilities: ## known vulnerabilities in what is used, by the database at vuln.go.dev; fails where that is out of reach (so not part of check)
	GOVULNCHECK='$(GOVULNCHECK)' .ci/vulnerabilities

.PHONY: generate release-wire
generate: ## generate proto/pb from proto/*.proto, and web/js from web/*.ts
	$(BUF) generate proto --template proto/buf.gen.yaml --output proto
	ESBUILD='$(ESBUILD)' .ci/web

release-wire: ## at a release: freeze the present wire, which `make check` then refuses to break
	cp proto/*.proto proto/released/
