#!/usr/bin/env bash
# Generates sdk/wire/*.pb.go from sdk/wire/*.proto. Commit the result: building
# Nepho needs no protoc. The Go plugins are pinned in go.mod; protoc is Debian's.
# Protocol files import each other as "wire/NAME.proto".
set -euo pipefail
cd "$(dirname "$0")/.."

command -v protoc >/dev/null || scripts/install-parts.sh protobuf-compiler=/usr/bin/protoc

module=github.com/nephoscope/nepho/sdk
protoc -I sdk \
  --plugin=protoc-gen-go="$(go tool -n protoc-gen-go)" \
  --plugin=protoc-gen-go-grpc="$(go tool -n protoc-gen-go-grpc)" \
  --go_out=sdk --go_opt=module=$module \
  --go-grpc_out=sdk --go-grpc_opt=module=$module \
  sdk/wire/*.proto
gofmt -l sdk/wire
