# shoal: build, try, test, measure. Debian, Go and root are taken for granted;
# what else a target needs, it installs.

.PHONY: build lab test unit bench soak handover generate lint install packages generate-packages

# Real programs that the tests put beside shoal's own.
TEST_PACKAGES = arptables iproute2 iptables keepalived nftables nginx-light procps
# Renewing the generated code takes a compiler and the kernel's headers.
GENERATE_PACKAGES = clang-19 llvm-19 libbpf-dev linux-libc-dev gcc libc6-dev

build:
	CGO_ENABLED=0 go build -trimpath -o bin/shoal ./cmd/shoal

# A cluster of three in network namespaces, for ten seconds.
lab: build
	./bin/shoal lab --for 10s

# All tests. One package at a time: nodes under test hold leases of 100 ms, and
# should not have to share the processors with another package's tests.
test: packages
	go test -tags privileged -count 1 -p 1 -timeout 14m $(TESTFLAGS) ./...

# The tests that need no privileges and no other programs.
unit:
	go test ./...

# Writes docs/benchmarks, on an idle machine (go run ./bench -only PART does a part).
bench: packages
	go run ./bench

# Strikes clusters with every kind of fault, hundreds of times, and writes
# docs/soak.md. Takes about an hour; what was done already is not repeated.
soak: packages
	go run ./test/soak $(SOAKFLAGS)

# Lets nodes come and go under thousands of connections and UDP flows, and writes
# docs/handover.md. Takes a quarter of an hour on an idle machine.
handover: packages
	go run ./test/soak -handover $(HANDOVERFLAGS)

generate: generate-packages
	go generate ./...

lint:
	go vet -tags privileged ./...
	go tool staticcheck -tags privileged ./...

install: build
	install -D -m 0755 bin/shoal $(DESTDIR)/usr/local/sbin/shoal
	install -D -m 0644 docs/shoal.service $(DESTDIR)/etc/systemd/system/shoal.service

packages:
	@./.ci/packages $(TEST_PACKAGES)

generate-packages:
	@./.ci/packages $(GENERATE_PACKAGES)
