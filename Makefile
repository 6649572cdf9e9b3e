GOFUMPT  = go run mvdan.cc/gofumpt@v0.12.0
LINT     = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME = 60s
BENCH    = go test -timeout 20m -run '^$$' -bench . -benchtime 0.3s

.PHONY: build demo check test test-all race fuzz bench bench-baseline bench-peers e2e

build: # the tool, in bin/
	CGO_ENABLED=0 go build -trimpath -o bin/oras-bsm ./cmd/oras-bsm

demo: # push, inspect, verify and pull a generated model through a local registry
	go run ./e2e/demo

check: # format, vet and lint; the linters are pinned above
	test -z "$$($(GOFUMPT) -l . | tee /dev/stderr)"
	go vet ./...
	$(LINT) run

test: check # what every change must pass
	go test ./...

test-all: check # and the slow tests, and the codec on other CPUs
	BSM_SLOW=1 go test -timeout 60m ./...
	GOARCH=arm64 go vet ./...
	GOARCH=386 CGO_ENABLED=0 go test -run 'Pinned|Vectors' ./codec
	! command -v qemu-aarch64-static || GOARCH=arm64 CGO_ENABLED=0 go test -exec qemu-aarch64-static -run 'Pinned|Vectors' ./codec
	! command -v qemu-aarch64-static || GOARCH=arm64 CGO_ENABLED=0 go test -exec qemu-aarch64-static -run 'RANS|Elements|SplitMerge|Copy' ./codec/internal/kernel

race:
	go test -race -short ./codec/... ./mediatypes/... ./oci/... ./cmd/...

fuzz: # every fuzz target for FUZZTIME; minimising a long input could take all of it
	@set -e; for p in $$(go list ./...); do \
	  list=$$(go test -list '^Fuzz' $$p) || { echo "$$list"; exit 1; }; \
	  for f in $$(echo "$$list" | grep '^Fuzz' || true); do \
	    (set -x; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$p); \
	  done; \
	done

bench: # every dtype, level and implementation, and a table of them
	{ $(BENCH) ./codec/... ./mediatypes/... || echo FAIL; } | go run ./e2e/benchtable

bench-baseline: # the committed table; run it with nothing else running, on a clean tree
	{ $(BENCH) ./codec || echo FAIL; } | go run ./e2e/benchtable -o codec/BENCH.md

bench-peers: # other compressors beside ours, those that are installed
	go run ./e2e/peers

e2e: # the tests against real registries and tools, in full
	go test -count=1 -v ./e2e/...
