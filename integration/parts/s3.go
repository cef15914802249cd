package parts

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Server is a server of S3's protocol.
type S3Server struct {
	*Process
	// URL has no path: http://127.0.0.1:PORT, or https.
	URL string
	// AccessKey and SecretKey are those of the server's owner.
	AccessKey, SecretKey string

	certs *Certificates
}

const (
	s3AccessKey = "testkey"
	s3SecretKey = "testsecret123"
)

// VersityGW starts an empty versitygw, which keeps objects as files. With
// certificates it speaks TLS. It takes about 0.3 s.
func VersityGW(tb TB, certs *Certificates) *S3Server {
	tb.Helper()
	s := newS3Server(tb, certs)
	makeDirs(tb, s.Dir, "data", "iam", "versions")
	u, err := url.Parse(s.URL)
	if err != nil {
		tb.Fatalf("cannot parse %q: %v", s.URL, err)
	}
	argv := []string{builtProgram(tb, "versitygw"), "--port", u.Host, "--health", "/health",
		"--iam-dir", filepath.Join(s.Dir, "iam"), "--keep-alive", "--quiet"}
	if certs != nil {
		argv = append(argv, "--cert", certs.Cert, "--key", certs.Key)
	}
	s.spec.name = "versitygw"
	s.spec.argv = append(argv, "posix", "--versioning-dir", filepath.Join(s.Dir, "versions"), filepath.Join(s.Dir, "data"))
	s.spec.env = []string{"ROOT_ACCESS_KEY=" + s3AccessKey, "ROOT_SECRET_KEY=" + s3SecretKey}
	s.Start()
	return s
}

// MinIO starts an empty MinIO. With certificates it speaks TLS. It takes about 1 s.
func MinIO(tb TB, certs *Certificates) *S3Server {
	tb.Helper()
	s := newS3Server(tb, certs)
	makeDirs(tb, s.Dir, "data", "certs/CAs")
	u, err := url.Parse(s.URL)
	if err != nil {
		tb.Fatalf("cannot parse %q: %v", s.URL, err)
	}
	if certs != nil {
		for from, to := range map[string]string{certs.Cert: "public.crt", certs.Key: "private.key", certs.CA: "CAs/ca.crt"} {
			b, err := os.ReadFile(from)
			if err != nil {
				tb.Fatalf("cannot read a certificate: %v", err)
			}
			writeFile(tb, filepath.Join(s.Dir, "certs", to), string(b))
		}
	}
	s.spec.name = "minio"
	s.spec.argv = []string{builtProgram(tb, "minio"), "server", "--quiet", "--address", u.Host,
		"--certs-dir", filepath.Join(s.Dir, "certs"), filepath.Join(s.Dir, "data")}
	s.spec.env = []string{"MINIO_ROOT_USER=" + s3AccessKey, "MINIO_ROOT_PASSWORD=" + s3SecretKey,
		"MINIO_UPDATE=off", "MINIO_BROWSER=off", "HOME=" + s.Dir}
	s.Start()
	return s
}

func newS3Server(tb TB, certs *Certificates) *S3Server {
	tb.Helper()
	scheme := "http"
	if certs != nil {
		scheme = "https"
	}
	s := &S3Server{
		URL:       fmt.Sprintf("%s://127.0.0.1:%d", scheme, FreePort(tb)),
		AccessKey: s3AccessKey,
		SecretKey: s3SecretKey,
		certs:     certs,
	}
	client := s.client(tb)
	s.Process = newProcess(tb, newDir(tb), spec{ready: func(ctx context.Context) error {
		_, err := client.ListBuckets(ctx)
		return err
	}})
	return s
}

// client is one of the server's owner. It does not try again.
func (s *S3Server) client(tb TB) *minio.Client {
	tb.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		tb.Fatalf("cannot parse %q: %v", s.URL, err)
	}
	transport, err := minio.DefaultTransport(s.certs != nil)
	if err != nil {
		tb.Fatalf("cannot make a client: %v", err)
	}
	if s.certs != nil {
		transport.TLSClientConfig.RootCAs = s.certs.Pool(tb)
	}
	tb.Cleanup(transport.CloseIdleConnections)
	client, err := minio.New(u.Host, &minio.Options{
		Creds:      credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""),
		Secure:     s.certs != nil,
		Region:     "us-east-1",
		Transport:  transport,
		MaxRetries: 1,
	})
	if err != nil {
		tb.Fatalf("cannot make a client: %v", err)
	}
	return client
}

// MakeBucket makes an empty bucket.
func (s *S3Server) MakeBucket(name string) {
	s.tb.Helper()
	if err := s.client(s.tb).MakeBucket(context.Background(), name, minio.MakeBucketOptions{}); err != nil {
		s.tb.Fatalf("cannot make bucket %q: %v", name, err)
	}
}

// builtProgram finds a program that scripts/build-parts.sh built.
func builtProgram(tb TB, name string) string {
	tb.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if cache, err := os.UserCacheDir(); err == nil {
		if path, err := exec.LookPath(filepath.Join(cache, "nepho", "parts", name)); err == nil {
			return path
		}
	}
	tb.Fatalf("cannot find %s: run scripts/build-parts.sh", name)
	return ""
}
