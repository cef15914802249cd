package objects_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/objects"
	"github.com/nephoscope/nepho/aggregator/objects/objectstest"
	"github.com/nephoscope/nepho/integration/parts"
)

// TestS3ListsManyObjects has more than come with one answer.
func TestS3ListsManyObjects(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openS3(t, start(t, nil), objects.ListingBy(50, objects.S3Options{Prefix: "p"}))
			const n = 220
			var all sync.WaitGroup
			for w := range 8 {
				all.Go(func() {
					for i := w; i < n; i += 8 {
						if err := s.Put(t.Context(), fmt.Sprintf("many/%03d", i), strings.NewReader("x"), 1); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			i := 0
			for info, err := range s.List(t.Context(), "many/") {
				if err != nil || info.Name != fmt.Sprintf("many/%03d", i) || info.Size != 1 {
					t.Fatalf("object %d is %+v, %v", i, info, err)
				}
				i++
			}
			if i != n {
				t.Fatalf("%d of %d", i, n)
			}
		})
	}
}

// TestS3ServerRestarts kills and starts the server while several work with it.
func TestS3ServerRestarts(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, nil)
			var told logText
			s := openS3(t, server, objects.S3Options{Log: slog.New(slog.NewTextHandler(&told, nil))})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stop := make(chan struct{})
			rounds := make(chan struct{}, 10_000)
			data := objectstest.Bytes(300_000)
			var all sync.WaitGroup
			for w := range 3 {
				all.Go(func() {
					var version objects.Version
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						default:
						}
						name := fmt.Sprintf("w%d/%d", w, i)
						err := s.Put(ctx, name, bytes.NewReader(data), int64(len(data)))
						if err == nil {
							var got []byte
							if got, err = read(ctx, s, name); err == nil && !bytes.Equal(got, data) {
								err = errors.New("wrong content")
							}
						}
						if err == nil {
							version, err = s.Replace(ctx, fmt.Sprintf("manifest%d", w), version, []byte(name))
						}
						if err == nil && i > 0 {
							err = s.Delete(ctx, fmt.Sprintf("w%d/%d", w, i-1))
						}
						if err != nil {
							t.Errorf("round %d: %v", i, err)
							return
						}
						rounds <- struct{}{}
					}
				})
			}
			for range 2 {
				for range 10 {
					<-rounds
				}
				server.Kill9()
				server.Start()
			}
			for range 10 {
				<-rounds
			}
			close(stop)
			all.Wait()
			if a, b := told.count("tried again"), told.count("answers again"); a == 0 || a != b {
				t.Errorf("told of %d failures and %d ends", a, b)
			}
		})
	}
}

// TestS3ServerStalls freezes the server: connections stay, nothing answers.
func TestS3ServerStalls(t *testing.T) {
	t.Parallel()
	server := parts.VersityGW(t, nil)
	s := openS3(t, server, objects.S3Options{})
	data := objectstest.Bytes(1 << 20)
	if err := s.Put(t.Context(), "object", bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	server.Pause()
	for !frozen(t, server.PID()) {
		time.Sleep(time.Millisecond) // the signal is on its way
	}
	objects.SetPatience(s, time.Second, time.Second)
	var all sync.WaitGroup
	for what, f := range calls(s) {
		all.Go(func() {
			if err := f(t.Context()); err == nil || !strings.Contains(err.Error(), "given up after 1s") || !strings.Contains(err.Error(), "does not answer within 1s") {
				t.Errorf("%s: %v", what, err)
			}
		})
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := f(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	all.Wait()
	objects.SetPatience(s, time.Minute, time.Minute)
	server.Resume()
	if got, err := read(t.Context(), s, "object"); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
}

// frozen tells whether all threads of a process are stopped.
func frozen(t *testing.T, pid int) bool {
	t.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(stats) == 0 {
		t.Fatalf("no process %d: %v", pid, err)
	}
	for _, path := range stats {
		if b, err := os.ReadFile(path); err == nil && !bytes.Contains(b, []byte(") T ")) {
			return false
		}
	}
	return true
}

// calls are one of each kind.
func calls(s objects.Store) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"put": func(ctx context.Context) error { return s.Put(ctx, "new", strings.NewReader("x"), 1) },
		"get": func(ctx context.Context) error { _, err := read(ctx, s, "object"); return err },
		"replace": func(ctx context.Context) error {
			_, err := s.Replace(ctx, "manifest", "", []byte("x"))
			return err
		},
		"delete": func(ctx context.Context) error { return s.Delete(ctx, "new") },
		"list": func(ctx context.Context) error {
			for _, err := range s.List(ctx, "") {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func read(ctx context.Context, s objects.Store, name string) ([]byte, error) {
	r, err := s.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// TestS3AnswersAreLost cuts connections when the server has done what it was asked for.
func TestS3AnswersAreLost(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, nil)
			p := newProxy(t, server)
			s := openS3(t, server, objects.S3Options{Endpoint: p.URL})
			lost := 0
			// The first answer to each request of a kind is lost.
			lose := func(kind func(r *http.Request) bool) {
				done := false
				p.set(func(r *http.Request, answer *http.Response) error {
					if done || answer == nil || !kind(r) {
						return nil
					}
					done = true
					lost++
					return errors.New("lost")
				})
			}
			put := func(r *http.Request) bool { return r.Method == http.MethodPut && r.URL.RawQuery == "" }

			data := objectstest.Bytes(9 << 20)
			lose(put)
			if err := s.Put(t.Context(), "small", strings.NewReader("x"), 1); err != nil {
				t.Error(err)
			}
			lose(put)
			version, err := s.Replace(t.Context(), "manifest", "", []byte("1"))
			if err != nil {
				t.Error(err)
			}
			lose(put)
			if version, err = s.Replace(t.Context(), "manifest", version, []byte("2")); err != nil {
				t.Error(err)
			}
			if got, now, err := s.Read(t.Context(), "manifest"); err != nil || string(got) != "2" || now != version {
				t.Errorf("%q of version %q, want %q: %v", got, now, version, err)
			}
			for i, kind := range []func(r *http.Request) bool{
				func(r *http.Request) bool { return strings.Contains(r.URL.RawQuery, "partNumber=") },
				func(r *http.Request) bool {
					return r.Method == http.MethodPost && strings.Contains(r.URL.RawQuery, "uploadId=")
				},
			} {
				lose(kind)
				name := fmt.Sprint("large", i)
				if err := s.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
					t.Error(err)
				}
				if got, err := read(t.Context(), s, name); err != nil || !bytes.Equal(got, data) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			}
			lose(func(r *http.Request) bool { return r.Method == http.MethodDelete })
			if err := s.Delete(t.Context(), "small"); err != nil {
				t.Error(err)
			}
			p.set(nil)
			if lost != 6 {
				t.Errorf("%d answers were lost", lost)
			}
		})
	}
}

// TestS3DownloadGoesOn cuts downloads, which go on where they were.
func TestS3DownloadGoesOn(t *testing.T) {
	t.Parallel()
	server := parts.VersityGW(t, nil)
	p := newProxy(t, server)
	s := openS3(t, server, objects.S3Options{Endpoint: p.URL, Timeout: 300 * time.Millisecond})
	data := objectstest.Bytes(1 << 20)
	if err := s.Put(t.Context(), "object", bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	// cutting ends so many answers after so many bytes, and returns the ranges that were
	// asked for. An answer that the client gives up before its end is not one of them.
	cutting := func(answers int64, bytes int64, end func()) (ranges func() []string) {
		var asked []string
		var cut atomic.Int64
		p.set(func(r *http.Request, answer *http.Response) error {
			if answer != nil && r.Method == http.MethodGet {
				asked = append(asked, r.Header.Get("Range"))
				if cut.Load() < answers {
					answer.Body = &endsWith{io.LimitReader(answer.Body, bytes), func() { cut.Add(1); end() }}
				}
			}
			return nil
		})
		return func() []string {
			p.set(nil)
			return asked
		}
	}
	get := func(s objects.Store, offset, length int64) ([]byte, error) {
		r, err := s.Get(t.Context(), "object", offset, length)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(r)
		return b, errors.Join(err, r.Close())
	}
	cut := func() { panic(http.ErrAbortHandler) }
	for what, end := range map[string]func(){"cut": cut, "stalled": func() { <-p.closed }} {
		ranges := cutting(3, 200_000, end)
		got, err := get(s, 0, -1)
		if asked := ranges(); err != nil || !bytes.Equal(got, data) || len(asked) < 4 || asked[0] != "" || !strings.HasPrefix(asked[len(asked)-1], "bytes=") {
			t.Errorf("%s: got %d bytes with requests %q, %v", what, len(got), asked, err)
		}
		ranges = cutting(3, 200_000, end)
		got, err = get(s, 1000, 900_000)
		if asked := ranges(); err != nil || !bytes.Equal(got, data[1000:901_000]) || len(asked) < 4 || asked[0] != "bytes=1000-900999" || asked[len(asked)-1] == asked[0] {
			t.Errorf("%s: got %d bytes with requests %q, %v", what, len(got), asked, err)
		}
	}
	// Nothing ever comes.
	const patience = 500 * time.Millisecond
	impatient, err := objects.S3(t.Context(), options(server, objects.S3Options{Endpoint: p.URL, Patience: patience}))
	if err != nil {
		t.Fatal(err)
	}
	ranges := cutting(1000, 0, cut)
	begun := time.Now()
	got, err := get(impatient, 0, -1)
	again := time.Since(begun) < patience // then it must be asked once more
	if asked := ranges(); err == nil || len(got) != 0 || again && len(asked) < 2 || len(asked) > 10 {
		t.Errorf("got %d bytes with %d requests, %v", len(got), len(asked), err)
	}
}

// endsWith does something when it is read to its end.
type endsWith struct {
	io.Reader
	end func()
}

func (e *endsWith) Read(b []byte) (int, error) {
	n, err := e.Reader.Read(b)
	if errors.Is(err, io.EOF) {
		e.end()
	}
	return n, err
}

func (e *endsWith) Close() error { return nil }

// TestS3ServersThatWillNotDo refuses those that would lose data.
func TestS3ServersThatWillNotDo(t *testing.T) {
	t.Parallel()
	server := parts.MinIO(t, nil)
	server.MakeBucket("nepho")
	p := newProxy(t, server)
	for _, header := range []string{"If-None-Match", "If-Match"} {
		p.set(func(r *http.Request, answer *http.Response) error {
			if answer != nil && r.Header.Get(header) != "" && answer.StatusCode == http.StatusPreconditionFailed {
				answer.StatusCode = http.StatusOK
				answer.Header.Set("ETag", `"0123456789"`)
			}
			return nil
		})
		if _, err := objects.S3(t.Context(), options(server, objects.S3Options{Endpoint: p.URL})); err == nil || !strings.Contains(err.Error(), "ignores "+header+" in writes") {
			t.Errorf("%s: %v", header, err)
		}
	}
	p.set(nil)
	s, err := objects.S3(t.Context(), options(server, objects.S3Options{Endpoint: p.URL}))
	if err != nil {
		t.Fatal(err)
	}
	for info, err := range s.List(t.Context(), "") {
		t.Errorf("a probe left %v, %v", info, err)
	}
	if err := s.Put(t.Context(), "object", strings.NewReader("0123456789"), 10); err != nil {
		t.Fatal(err)
	}
	p.set(func(r *http.Request, answer *http.Response) error {
		if answer != nil && r.Header.Get("Range") != "" {
			answer.StatusCode = http.StatusOK
			answer.Header.Del("Content-Range")
		}
		return nil
	})
	if _, err := s.Get(t.Context(), "object", 3, 2); err == nil || !strings.Contains(err.Error(), "does not give ranges") {
		t.Errorf("got %v", err)
	}
}

// TestS3TriesAgain has the server answer with errors, of which some pass.
func TestS3TriesAgain(t *testing.T) {
	t.Parallel()
	server := parts.VersityGW(t, nil)
	p := newProxy(t, server)
	s := openS3(t, server, objects.S3Options{Endpoint: p.URL})
	impatient, err := objects.S3(t.Context(), options(server, objects.S3Options{Endpoint: p.URL, Patience: 100 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "object", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	for _, answer := range []struct {
		status int
		code   string
		want   string // empty: it passes
	}{
		{503, "SlowDown", ""},
		{500, "InternalError", ""},
		{409, "ConditionalRequestConflict", ""},
		{507, "XMinioStorageFull", ""},
		{501, "NotImplemented", "the server has not all of S3"},
		{403, "RequestTimeTooSkewed", "set both by NTP"},
		{403, "AccessDenied", "allow the owner of access_key"},
		{403, "SignatureDoesNotMatch", "option secret_key"},
		{403, "InvalidAccessKeyId", "option access_key"},
		{400, "AuthorizationHeaderMalformed", "option region"},
		{404, "NoSuchBucket", `make bucket "nepho" there, or correct option bucket`},
	} {
		// answers gives the error to so many requests.
		answers := func(left int) {
			p.set(func(_ *http.Request, a *http.Response) error {
				if a == nil || left == 0 {
					return nil
				}
				left--
				body, err := xml.Marshal(struct {
					XMLName       xml.Name `xml:"Error"`
					Code, Message string
				}{Code: answer.code, Message: "because"})
				a.StatusCode, a.Body, a.ContentLength = answer.status, io.NopCloser(bytes.NewReader(body)), int64(len(body))
				a.Header = http.Header{"Content-Type": {"application/xml"}, "Content-Length": {fmt.Sprint(len(body))}}
				return err
			})
		}
		for what, f := range calls(s) {
			answers(1)
			if err := f(t.Context()); answer.want == "" && err != nil {
				t.Errorf("%s with %s once: %v", what, answer.code, err)
			} else if answer.want != "" && (err == nil || !strings.Contains(err.Error(), answer.want) || errors.Is(err, objects.ErrConflict) || errors.Is(err, objects.ErrNotFound)) {
				t.Errorf("%s with %s: %v", what, answer.code, err)
			}
			p.set(nil)
			if err := errors.Join(s.Delete(t.Context(), "new"), s.Delete(t.Context(), "manifest")); err != nil {
				t.Fatal(err)
			}
		}
		if answer.code != "XMinioStorageFull" {
			continue
		}
		for what, f := range calls(impatient) {
			answers(1000)
			if err := f(t.Context()); err == nil || !strings.Contains(err.Error(), "given up after 100ms") || !strings.Contains(err.Error(), "no room in the store") {
				t.Errorf("%s with %s for long: %v", what, answer.code, err)
			}
		}
	}
}

// TestS3WrongOptions asks real servers with options that are wrong.
func TestS3WrongOptions(t *testing.T) {
	certs, others := parts.NewCertificates(t), parts.NewCertificates(t)
	nothing := fmt.Sprintf("http://127.0.0.1:%d", parts.FreePort(t))
	noPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain, tls := start(t, nil), start(t, &certs)
			plain.MakeBucket("nepho")
			tls.MakeBucket("nepho")
			for _, c := range []struct {
				what   string
				server *parts.S3Server
				change func(o *objects.S3Options)
				want   string
			}{
				{"bucket", plain, func(o *objects.S3Options) { o.Bucket = "other" }, `make bucket "other" there, or correct option bucket`},
				{"access key", plain, func(o *objects.S3Options) { o.AccessKey = "other" }, "option access_key"},
				{"secret key", plain, func(o *objects.S3Options) { o.SecretKey = "other" }, "option secret_key"},
				{"nothing listens", plain, func(o *objects.S3Options) { o.Endpoint = nothing }, "nothing listens there"},
				{"no such host", plain, func(o *objects.S3Options) { o.Endpoint = "http://s3.invalid" }, "host in option endpoint"},
				{"addressing", plain, func(o *objects.S3Options) { o.Endpoint, o.Addressing = "http://s3.invalid", "host" }, "addressing"},
				{"https to http", plain, func(o *objects.S3Options) { o.Endpoint = strings.Replace(o.Endpoint, "http:", "https:", 1) }, "write http:// in option endpoint"},
				{"http to https", tls, func(o *objects.S3Options) { o.Endpoint = strings.Replace(o.Endpoint, "https:", "http:", 1) }, "write https:// in option endpoint"},
				{"no authority", tls, func(o *objects.S3Options) {}, "option ca_file"},
				{"another authority", tls, func(o *objects.S3Options) { o.CAFile = others.CA }, "option ca_file"},
				{"no file", tls, func(o *objects.S3Options) { o.CAFile = noPEM + "x" }, "option ca_file: open"},
				{"no PEM", tls, func(o *objects.S3Options) { o.CAFile = noPEM }, "option ca_file: there is no PEM certificate"},
				{"another name", tls, func(o *objects.S3Options) {
					o.CAFile = certs.CA
					o.Endpoint = strings.Replace(o.Endpoint, "127.0.0.1", "127.0.0.2", 1)
				}, "option endpoint"},
			} {
				o := options(c.server, objects.S3Options{Patience: 200 * time.Millisecond})
				c.change(&o)
				if _, err := objects.S3(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v", c.what, err)
				}
			}
			if name == "versitygw" { // MinIO is in every region
				o := options(plain, objects.S3Options{Region: "mars-1"})
				if _, err := objects.S3(t.Context(), o); err == nil || !strings.Contains(err.Error(), "option region") {
					t.Errorf("region: %v", err)
				}
			}
			o := options(tls, objects.S3Options{CAFile: certs.CA})
			if _, err := objects.S3(t.Context(), o); err != nil {
				t.Errorf("with the right options: %v", err)
			}
		})
	}
}

func TestS3ImpossibleOptions(t *testing.T) {
	for _, c := range []struct {
		o    objects.S3Options
		want string
	}{
		{objects.S3Options{Endpoint: ""}, "option endpoint"},
		{objects.S3Options{Endpoint: "s3.example.org"}, "option endpoint"},
		{objects.S3Options{Endpoint: "ftp://s3.example.org"}, "option endpoint"},
		{objects.S3Options{Endpoint: "https://"}, "option endpoint"},
		{objects.S3Options{Endpoint: "https://s3.example.org/bucket"}, "option endpoint"},
		{objects.S3Options{Endpoint: "https://key@s3.example.org"}, "option endpoint"},
		{objects.S3Options{Endpoint: "http://h:1", AccessKey: "a", SecretKey: "s"}, "option bucket is missing"},
		{objects.S3Options{Endpoint: "http://h:1", Bucket: "bbb", SecretKey: "s"}, "option access_key is missing"},
		{objects.S3Options{Endpoint: "http://h:1", Bucket: "bbb", AccessKey: "a"}, "option secret_key is missing"},
		{objects.S3Options{Endpoint: "http://h:1", Bucket: "bbb", AccessKey: "a", SecretKey: "s", Addressing: "x"}, "option addressing"},
		{objects.S3Options{Endpoint: "http://h:1", Bucket: "bbb", AccessKey: "a", SecretKey: "s", Prefix: "a//b"}, "option prefix"},
		{objects.S3Options{Endpoint: "http://h:1", Bucket: "B", AccessKey: "a", SecretKey: "s"}, "ucket"},
	} {
		if _, err := objects.S3(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

// proxy stands before a server and changes what goes through.
type proxy struct {
	URL    string
	closed chan struct{} // when the test ends

	mu     sync.Mutex
	change func(r *http.Request, answer *http.Response) error
}

// set changes what happens to requests: change is called for each before it goes to
// the server, with no answer, and when the answer is there. After an error the
// connection is cut.
func (p *proxy) set(change func(r *http.Request, answer *http.Response) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change = change
}

func (p *proxy) call(r *http.Request, answer *http.Response) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.change == nil {
		return nil
	}
	return p.change(r, answer)
}

func newProxy(t *testing.T, server *parts.S3Server) *proxy {
	t.Helper()
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{closed: make(chan struct{})}
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
			if err := p.call(r.Out, nil); err != nil {
				panic(http.ErrAbortHandler)
			}
		},
		ModifyResponse: func(a *http.Response) error { return p.call(a.Request, a) },
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:       slog.NewLogLogger(slog.DiscardHandler, 0),
	})
	t.Cleanup(front.Close)
	t.Cleanup(func() { close(p.closed) })
	p.URL = front.URL
	return p
}

// logText is what a logger was told.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logText) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}
