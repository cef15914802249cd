// Package parts starts the real programs that Nepho's tests talk to: RabbitMQ,
// libvirtd with its test driver and with QEMU guests, InfluxDB 1.x,
// VictoriaMetrics, Prometheus, PostgreSQL, Gnocchi, Keystone, and the S3 servers
// versitygw and MinIO.
//
// Each function starts a private copy in its own directory, on its own ports of
// 127.0.0.1, waits until it answers, and ends it when the test ends. Several
// copies run at once. Nothing is shared between them and nothing is left behind:
// a part runs in its own process group and dies with the test process, even one
// that is killed.
//
// A program that is not installed fails the test; scripts/install-parts.sh
// installs them all, but for those that Debian does not have, which
// scripts/build-parts.sh builds.
//
// A part's methods fail the test when they cannot do what they say, so call them
// from the test's own goroutine. Benchmarks that are programs of their own get a
// [TB] from [Run].
package parts
