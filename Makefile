# Two commands for users: `make up` and `make test`. The others are their parts.

GO      ?= go
VERSION := v0.1.0-$(shell git rev-parse --short HEAD 2>/dev/null || echo dev)
KUBE    := $(shell $(GO) list -m -f '{{.Version}}' k8s.io/kubernetes 2>/dev/null)
export CGO_ENABLED = 0
# One set of flags for build, vet and test: Kubernetes is then compiled once.
export GOFLAGS = -trimpath -buildvcs=false
# Kubernetes' own programs are told their version the same way.
LDFLAGS := -s -w -X main.version=$(VERSION) -X k8s.io/component-base/version.gitVersion=$(KUBE) -X k8s.io/client-go/pkg/version.gitVersion=$(KUBE)
BUILD   := $(GO) build -ldflags "$(LDFLAGS)"
CARRIED := bin/parts/sampand bin/parts/sampan-edge bin/parts/sampan-keeper

.PHONY: up down build test bench bench-engine bench-apps lint deps test-deps clean

up: deps build ## install what is needed, build, start the cloud, run the demo
	@bin/sampan status -q || bin/sampan up
	@deploy/demo.sh

down: ## end everything that up started; PURGE=1 deletes its data too
	bin/sampan down $(if $(PURGE),--purge)

build: bin/sampan ## one file that carries daemon, keeper and edge

# Go knows best what has changed, so the parts are asked for every time.
.PHONY: bin/parts
bin/parts:
	@mkdir -p bin/parts
	$(BUILD) -o bin/parts/ ./cmd/...

$(CARRIED): bin/parts ;

bin/sampan: bin/parts $(CARRIED)
	@if [ ! -f $@ ] || [ -n "$$(find bin/parts -newer $@ -type f)" ]; then \
		echo "bundle $@"; $(GO) run ./tools/bundle $@ bin/parts/sampan $(CARRIED); fi

deps: ## Debian packages that a running cloud needs
	@deploy/install-packages.sh nftables iproute2 util-linux kmod ca-certificates

test-deps: deps ## and those that tests compare with
	@deploy/install-packages.sh gcc libc6-dev libseccomp-dev runc crun systemd
	@deploy/install-criu.sh || { [ "$$CI" != true ] && echo "tests of checkpoints are skipped"; }

test: test-deps lint build ## everything that CI runs
	test/run.sh

lint: ## formatting, vet, and the map of the house
	@out=$$(gofmt -l api cmd internal test tools); if [ -n "$$out" ]; then echo "not gofmt'ed:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...

bench: build deps ## measure against the peers; results belong in docs/promises.md
	test/bench/run.sh cloud $(BENCH)

bench-engine: build deps ## the same for the engine alone
	test/bench/run.sh engine $(BENCH)

bench-apps: build deps ## what users' traffic meets: the gateway against other proxies
	test/bench/run.sh apps $(BENCH)

clean:
	rm -rf bin
