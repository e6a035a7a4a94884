#!/bin/sh
# Measures Sampan against its peers: `run.sh cloud`, `run.sh engine` or `run.sh
# apps`, which are `make bench`, `make bench-engine` and `make bench-apps`. More arguments are the program's flags,
# such as -rounds, -burst and -only (BENCH="-rounds 5" for make). Tables go to the
# output, every value to bin/bench/; -promises docs/promises.md writes them there.
set -eu
cd "$(dirname "$0")/../.."
suite=${1:-cloud}
[ $# -eq 0 ] || shift
case $suite in
apps) deploy/install-packages.sh nginx-light haproxy wrk iproute2 procps ;;
*) deploy/install-packages.sh docker.io podman iptables runc crun iproute2 ;;
esac
mkdir -p bin/bench
# Built first, so that the compiler does not run beside what is measured.
CGO_ENABLED=0 go build -o bin/bench/bench ./test/bench
exec bin/bench/bench -suite "$suite" -json "bin/bench/$suite.json" "$@"
