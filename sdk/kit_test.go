package sdk

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/protocol"
	"github.com/nephoscope/nepho/sdk/wire"
)

// served is a plugin that is served within the test's process, where the race
// detector and goleak see it.
type served struct {
	*protocol.Client
	t   *testing.T
	log *logged
}

func serve(t *testing.T, p Plugin) *served {
	t.Helper()
	others := goleak.IgnoreCurrent()
	log := new(logged)
	s, err := newServer(p, slog.New(newHandler(log)))
	if err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	g := grpc.NewServer(grpc.MaxRecvMsgSize(protocol.MaxMessageBytes))
	s.register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:plugin", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		g.GracefulStop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for begun := time.Now(); ; {
			err := goleak.Find(others)
			if err == nil {
				break
			}
			if time.Since(begun) > time.Minute {
				t.Error(err)
				break
			}
		}
	})
	return &served{protocol.NewClient(conn), t, log}
}

// logged keeps what was logged.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start starts the instance "i" with the options that change made of none.
func (s *served) start(toml string, change ...func(*wire.StartRequest)) {
	s.t.Helper()
	options, problems := config.Parse("test.toml", []byte(toml))
	if len(problems) > 0 {
		s.t.Fatal(problems)
	}
	r := &wire.StartRequest{Instance: "i", Options: protocol.EncodeTable(options), LogLevel: "debug"}
	for _, c := range change {
		c(r)
	}
	reply, err := s.Start(s.t.Context(), r)
	if err != nil || reply.Error != "" || len(reply.Problems) > 0 {
		s.t.Fatalf("cannot start: %v, error %v", reply, err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := s.Stop(ctx, &wire.StopRequest{Instance: "i"}); err != nil {
			s.t.Error(err)
		}
	})
}

// poll polls once and gives the samples and the summary.
func (s *served) poll(ctx context.Context) ([]Sample, *wire.PollSummary, error) {
	stream, err := s.Pollster.Poll(ctx, &wire.PollRequest{Instance: "i"})
	if err != nil {
		return nil, nil, err
	}
	var all []Sample
	var summary *wire.PollSummary
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return all, summary, nil
		}
		if err != nil {
			return all, nil, err
		}
		if m.Summary != nil {
			summary = m.Summary
			continue
		}
		b, err := DecodeBatch(m.Batch)
		if err != nil {
			return all, nil, err
		}
		all = append(all, rows([]*Batch{b})...)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// pollFunc makes a plugin of one function.
type pollFunc struct {
	poll func(ctx context.Context, out *Builder) error
}

func (p *pollFunc) Poll(ctx context.Context, out *Builder) error { return p.poll(ctx, out) }

func pollster(poll func(ctx context.Context, out *Builder) error) Plugin {
	return Plugin{Name: "test", Pollster: func() Pollster { return &pollFunc{poll} }}
}
