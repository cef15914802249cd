package parts

import (
	"bytes"
	"io"
	"testing"

	"github.com/minio/minio-go/v7"
)

func TestS3KeepsObjectsOverRestart(t *testing.T) {
	certs := NewCertificates(t)
	for name, start := range map[string]func(TB, *Certificates) *S3Server{"versitygw": VersityGW, "minio": MinIO} {
		for scheme, c := range map[string]*Certificates{"http": nil, "https": &certs} {
			t.Run(name+" "+scheme, func(t *testing.T) {
				t.Parallel()
				var dir string
				t.Run("run", func(t *testing.T) {
					s := start(t, c)
					dir = s.Dir
					s.MakeBucket("nepho")
					want := []byte("content")
					if _, err := s.client(t).PutObject(t.Context(), "nepho", "a/b", bytes.NewReader(want), int64(len(want)), minio.PutObjectOptions{}); err != nil {
						t.Fatal(err)
					}
					s.Restart()
					o, err := s.client(t).GetObject(t.Context(), "nepho", "a/b", minio.GetObjectOptions{})
					if err != nil {
						t.Fatal(err)
					}
					defer o.Close()
					if got, err := io.ReadAll(o); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("got %q, %v", got, err)
					}
				})
				expectNothingLeft(t, dir)
			})
		}
	}
}
