#!/usr/bin/env bash
# What `make test` runs once everything is built, in stages: fast ones first, so
# that a simple mistake is told at once. The last lines are go test's own summary.
set -u
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"
cores=$(nproc)
failed=0
times=()
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT

# stage NAME ARGUMENT… is go test with the arguments; a failure does not keep the
# next stage from running.
stage() {
	local name=$1 began=$SECONDS
	shift
	echo "== $name"
	go test "$@" 2>&1 | tee -a "$summary"
	[ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
	times+=("$(printf '%5ds  %s' $((SECONDS - began)) "$name")")
}

# Kubernetes' own packages are a second big link, and the cloud of the end-to-end
# tests wants the machine for itself: both on their own.
light=$(go list ./api/... ./internal/... ./test/... | grep -vE '/(internal/cluster/.*|internal/app.*|test/e2e)$')
heavy=$(go list ./internal/cluster/... ./internal/app/...)
# shellcheck disable=SC2086 # lists of words
{
	stage 'packages' -p "$cores" -timeout 10m $light
	stage 'packages with Kubernetes inside' -p 1 -timeout 15m $heavy
	# Not from the cache: what is tested is bin/sampan, which go test does not see.
	stage 'end to end' -count=1 -timeout 20m ./test/e2e
}

echo "== how long each stage took"
printf '%s\n' "${times[@]}"
echo "== summary"
grep -E '^(ok|FAIL|---|panic:)\s' "$summary"
exit $failed
