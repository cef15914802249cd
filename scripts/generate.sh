#!/usr/bin/env bash
# Generates sdk/wire/*.pb.go from sdk/wire/*.proto. Commit the result: building
# Nepho needs no protoc. The Go plugins are pinned in go.mod; protoc is Debian's.
#
# Protocol files are named from the root, as in import "sdk/wire/batch.proto":
# the name is registered in every process, and a short one could meet another.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v protoc >/dev/null || scripts/install-parts.sh protobuf-compiler=/usr/bin/protoc

protoc -I . \
  --plugin=protoc-gen-go="$(go tool -n protoc-gen-go)" \
  --plugin=protoc-gen-go-grpc="$(go tool -n protoc-gen-go-grpc)" \
  --go_out=. --go_opt=paths=source_relative \
  --go-grpc_out=. --go-grpc_opt=paths=source_relative \
  sdk/wire/*.proto
ls sdk/wire/*.pb.go
