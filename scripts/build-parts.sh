#!/usr/bin/env bash
# Builds what the tests start or call and Debian has no package of: programs in
# Go, once, into the user's cache directory, where integration/parts finds them.
# Does nothing when they are there in the right version. Needs no root.
set -euo pipefail

# One line per program: its name, its package, and the version of its module.
parts="
versitygw  github.com/versity/versitygw/cmd/versitygw  v1.8.0
minio      github.com/minio/minio                      v0.0.0-20260212201848-7aac2a2c5b7c
"

say() { printf 'parts: %s\n' "$*"; }

dir=${XDG_CACHE_HOME:-$HOME/.cache}/nepho/parts
mkdir -p "$dir"
# Two runs at once would build the same thing twice.
exec 9>"$dir/lock"
if ! flock -n 9; then
  say "waiting for another run that builds"
  flock 9
fi

while read -r name package version; do
  [ -n "$name" ] || continue
  program=$dir/$name
  # What go says of a program: its path, and module and version in a line.
  if go version -m "$program" 2>/dev/null | grep -Fqw "$version"; then
    say "$name $version is there"
    continue
  fi
  say "building $name $version, which takes minutes, once"
  start=$SECONDS
  log=$(mktemp)
  # In a folder of its own, so that a build that is stopped leaves no program.
  new=$(mktemp -d "$dir/build.XXXX")
  # With -v, go names each package that it compiles.
  if ! GOBIN=$new GOFLAGS=-buildvcs=false go install -v -trimpath -ldflags '-s -w' "$package@$version" 2>&1 |
    tee "$log" | awk '!/^go: / && ++n % 200 == 0 {print "parts: " n " packages compiled"; fflush()}'; then
    tail -n 20 "$log" >&2
    rm -rf "$new" "$log"
    say "cannot build $name: is the module proxy reachable?" >&2
    exit 1
  fi
  mv "$new/$name" "$program"
  rm -rf "$new" "$log"
  say "built $name in $((SECONDS - start)) s"
done <<<"$parts"
