package objects_test

import (
	"testing"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/objects/objectstest"
	"github.com/nephoscope/nepho/integration/parts"
)

func TestConformance(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		s, err := objects.Local(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		objectstest.Conform(t, s)
	})
	t.Run("versitygw", func(t *testing.T) {
		t.Parallel()
		objectstest.Conform(t, openS3(t, parts.VersityGW(t, nil), objects.S3Options{}))
	})
	certs := parts.NewCertificates(t)
	for name, start := range servers {
		t.Run(name+" with TLS and a prefix", func(t *testing.T) {
			t.Parallel()
			objectstest.Conform(t, openS3(t, start(t, &certs), objects.S3Options{CAFile: certs.CA, Prefix: "some/where", Addressing: "path"}))
		})
	}
}

var servers = map[string]func(parts.TB, *parts.Certificates) *parts.S3Server{"versitygw": parts.VersityGW, "minio": parts.MinIO}

// options completes those for a bucket of a server.
func options(server *parts.S3Server, o objects.S3Options) objects.S3Options {
	if o.Endpoint == "" {
		o.Endpoint = server.URL
	}
	o.Bucket, o.AccessKey, o.SecretKey = "nepho", server.AccessKey, server.SecretKey
	return o
}

// openS3 makes a bucket and opens the store in it.
func openS3(t *testing.T, server *parts.S3Server, o objects.S3Options) objects.Store {
	t.Helper()
	server.MakeBucket("nepho")
	s, err := objects.S3(t.Context(), options(server, o))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
