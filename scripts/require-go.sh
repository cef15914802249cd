#!/bin/sh
# Explains what to do when there is no Go here that can build Nepho.
cd "$(dirname "$0")/.." || exit
want=$(awk '$1 == "go" {print $2; exit}' go.mod)
advice="Nepho needs Go ${want%.*} or newer to build (Debian 12 packages an older one).
Install it like this, or see https://go.dev/doc/install:

    curl -fsSL https://go.dev/dl/go$want.linux-$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/').tar.gz | sudo tar -xz -C /usr/local
    export PATH=\$PATH:/usr/local/go/bin"

if ! command -v go >/dev/null; then
  if [ -x /usr/local/go/bin/go ]; then
    echo "Go is installed but not on your PATH: export PATH=\$PATH:/usr/local/go/bin" >&2
  else
    printf 'Go is not installed.\n%s\n' "$advice" >&2
  fi
  exit 1
fi
# A Go of 1.21 or newer fetches the version that go.mod asks for by itself.
if ! problem=$(go list -m 2>&1); then
  printf 'This Go cannot build Nepho: %s: %s\n%s\n' "$(go version 2>/dev/null)" "$problem" "$advice" >&2
  exit 1
fi
