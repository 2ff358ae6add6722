# Each recipe is one command, which can as well be typed by hand.
# "just" comes with: npm install --global rust-just

# lists the recipes
default:
    @just --list --unsorted

# runs everything on this machine, to try it
dev *options:
    go run ./cmd/gatebus dev {{options}}

# all tests that what is installed allows
test:
    go test ./...

# all but those with real processes, with the race detector and in random order
race:
    go test -race -shuffle=on $(go list ./... | grep -v -e /e2e -e /examples -e /deploy -e /portfuzz)

# tests with real processes, the nats command, Node.js, PHP, nginx and HAProxy, all of
# it with the race detector; says what is skipped
e2e:
    go test -race -count=1 -v ./e2e ./e2e/parity ./examples/... ./deploy/...

# the chat page and those of the examples in Chromium; says if it is skipped
browser:
    go test -count=1 -v ./e2e/browser

# breaks real processes for ten minutes, as root also their network; see --help
chaos *options:
    go run ./internal/chaos/cmd/chaos {{options}}

# replaces all roles of a cluster by other versions of the protocol and back, under load
upgrade:
    GATEBUS_TEST_LONG=1 go test -race -count=1 -v -run 'TestRollingUpgrade|TestOtherMajor' ./e2e

# looks for inputs that break a parser, for a while each
fuzz time="5s":
    .ci/fuzz {{time}}

# throws garbage at every port of real processes for ten minutes; see --help
fuzz-ports *options:
    go run ./internal/portfuzz/cmd/portfuzz {{options}}

# measures the whole table beside a bare server, for some ten minutes; writes docs/performance.md
bench *options:
    go run ./cmd/gatebus bench all --markdown docs/performance.md {{options}}

# Go benchmarks of the hot path; compare with docs/benchmarks.txt, by benchstat for one
micro *options:
    go test -run '^$' -bench . -count 6 {{options}} ./bus ./internal/wsframe ./internal/stream ./gateway ./worker

# go vet and staticcheck
lint: vet staticcheck

vet:
    go vet ./...

staticcheck:
    go tool staticcheck ./...

# fails if gofmt or go fix would change a file
fmt-check: gofmt-check fix-check

gofmt-check:
    gofmt -d .

fix-check:
    go fix -diff ./...

# fails if go.mod or go.sum has too much or too little
tidy-check:
    go mod tidy -diff

# the packages of the Node.js example, as its lock file says
examples-install:
    npm ci --prefix examples/node

# Kubernetes manifests and compose file, strictly; not in CI: takes a minute to build
manifests:
    go -C .ci/manifests run . ../../deploy/kubernetes/gatebus.yaml ../../deploy/docker/compose.yaml

# archives of a release and their checksums, in dist/release
release *platforms:
    .ci/release {{platforms}}

# all that CI runs; installs what it needs
ci:
    .ci/run
