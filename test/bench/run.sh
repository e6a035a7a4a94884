#!/bin/sh
# Measures Sampan against its peers: `run.sh cloud` or `run.sh engine`, which are
# `make bench` and `make bench-engine`. More arguments are the program's flags,
# such as -rounds, -burst and -only (BENCH="-rounds 5" for make). Tables go to the
# output, every value to bin/bench/; -promises docs/promises.md writes them there.
set -eu
cd "$(dirname "$0")/../.."
suite=${1:-cloud}
[ $# -eq 0 ] || shift
deploy/install-packages.sh docker.io podman iptables runc crun iproute2
mkdir -p bin/bench
# Built first, so that the compiler does not run beside what is measured.
CGO_ENABLED=0 go build -o bin/bench/bench ./test/bench
exec bin/bench/bench -suite "$suite" -json "bin/bench/$suite.json" "$@"
