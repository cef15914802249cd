#!/usr/bin/env bash
# Runs Nepho's tests: all stages in order, or those named as arguments. Stops at
# the first stage that fails, names it and returns its status. Whatever happens,
# nothing that a stage started is left running.
#
# Stages: parts format vet staticcheck build unit integration examples
set -euo pipefail
cd "$(dirname "$0")/.."

all_stages=(parts format vet staticcheck build unit integration examples)

# The modules: ours, then the examples of plugins that live outside this tree.
modules=(. sdk)
mapfile -t examples < <(find integration -name go.mod -not -path '*/testdata/*' -exec dirname {} \; | sort)

# Everything a test starts inherits this mark and this directory for temporary
# files. The path is short because Unix sockets live below it.
run="$$-$EPOCHSECONDS"
export NEPHO_TEST_RUN=$run
TMPDIR=$(mktemp -d /tmp/nepho.XXXX)
export TMPDIR
export NEPHO_BIN=$PWD/bin/nepho
# Where build-parts.sh puts programs: tests that run as root have another cache.
export PATH=$PATH:${XDG_CACHE_HOME:-$HOME/.cache}/nepho/parts
results=$TMPDIR/results # the lines with which go test closes

root=()
test_flags=(-timeout=10m)
if [ "$(id -u)" -ne 0 ]; then
  # Emulated guests with their own network need root. Compiling does not, so that
  # the user's caches stay the user's.
  root=(sudo)
  test_flags+=(-exec "sudo env PATH=$PATH TMPDIR=$TMPDIR NEPHO_BIN=$NEPHO_BIN NEPHO_TEST_RUN=$run")
fi

stage_parts() {
  scripts/install-parts.sh
  scripts/build-parts.sh
}

stage_format() {
  local unformatted
  unformatted=$(gofmt -l .)
  if [ -n "$unformatted" ]; then
    printf 'run gofmt -w on these files:\n%s\n' "$unformatted"
    return 1
  fi
}

stage_vet() {
  local module
  for module in "${modules[@]}" "${examples[@]}"; do
    (cd "$module" && go vet ./...)
  done
}

stage_staticcheck() {
  local module staticcheck
  staticcheck=$(go tool -n staticcheck)
  for module in "${modules[@]}" "${examples[@]}"; do
    (cd "$module" && "$staticcheck" ./...)
  done
}

stage_build() { make --no-print-directory build; }

# go_test MODULE ARGUMENT... streams go test's output and keeps its closing lines.
go_test() {
  local module=$1
  shift
  (cd "$module" && go test "${test_flags[@]}" "$@") 2>&1 | tee "$TMPDIR/output" || {
    grep -E '^(FAIL|---? FAIL)' "$TMPDIR/output" >>"$results" || true
    return 1
  }
  grep -E '^ok' "$TMPDIR/output" >>"$results" || true
}

stage_unit() {
  local packages
  mapfile -t packages < <(go list ./... | grep -v '/nepho/integration')
  go_test . -race "${packages[@]}"
  go_test sdk -race ./...
}

# The tests of the built binary are never answered from go test's cache, which
# does not know what they depend on.
stage_integration() { go_test . -count=1 ./integration/...; }

stage_examples() {
  local module
  for module in "${examples[@]}"; do
    go_test "$module" ./...
  done
}

# running prints the ids of the processes that carry this run's mark.
running() {
  "${root[@]}" grep -lsz "^NEPHO_TEST_RUN=$run\$" /proc/[0-9]*/environ |
    cut -d/ -f3 || true
}

# finish ends what is left, which is only ever something after a failure, and
# returns 1 if there was anything.
finish() {
  local pids pid attempt
  export -n NEPHO_TEST_RUN # from here on, only what the stages left carries it
  for attempt in $(seq 50); do
    mapfile -t pids < <(running)
    if [ ${#pids[@]} -eq 0 ]; then break; fi
    sleep 0.1
  done
  for pid in "${pids[@]}"; do
    printf 'still running, killed: %s %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
    "${root[@]}" kill -9 "$pid" 2>/dev/null || true
  done
  [ ${#pids[@]} -eq 0 ]
}

summary=""
current=""
started=$SECONDS
on_exit() {
  local status=$? clean=0
  trap - EXIT INT TERM
  set +e
  finish || clean=1
  printf '\n%s' "$summary"
  if [ -n "$current" ]; then
    [ $status -ne 0 ] || status=1
    printf '%-12s %4d s  FAILED\n' "$current" $((SECONDS - stage_start))
  fi
  printf '%-12s %4d s\n' total $((SECONDS - started))
  if [ $clean -eq 0 ]; then
    echo "nothing is left running"
  elif [ $status -eq 0 ]; then
    echo "tests left processes behind"
    status=1
  fi
  [ -z "$current" ] || echo "stage $current failed; run it again with: scripts/test.sh $current"
  [ ! -s "$results" ] || { echo; cat "$results"; }
  "${root[@]}" rm -rf "$TMPDIR"
  exit $status
}

scripts/require-go.sh
trap on_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=("${all_stages[@]}")
for stage in "${stages[@]}"; do
  if ! declare -F "stage_$stage" >/dev/null; then
    echo "unknown stage $stage; there are: ${all_stages[*]}" >&2
    exit 2
  fi
done
for stage in "${stages[@]}"; do
  printf '\n== %s\n' "$stage"
  current=$stage stage_start=$SECONDS
  "stage_$stage" # not in a condition: there, bash would go on after a failed command
  summary+=$(printf '%-12s %4d s  ok' "$stage" $((SECONDS - stage_start)))$'\n'
  current=""
done
