package amqp

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rabbitmq/amqp091-go"

	"github.com/nephoscope/nepho/sdk"
)

func TestRefusalsFollowTheirFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var l log
	r, err := newRefusals(&notification{Refused: keepRefused, RefusedMaxSize: 1000}, sdk.Env{StateDir: dir, Log: slog.New(slog.NewTextHandler(&l, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	refuse := func(want fate) {
		t.Helper()
		if got := r.whole(amqp091.Delivery{Body: []byte(strings.Repeat("x", 400))}, "queue", errors.New("reason")); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	path := filepath.Join(dir, refusedFile)
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	refuse(accept)
	one := size()
	refuse(fate{err: errFull})
	refuse(fate{err: errFull})
	if size() != one || l.count("is full") != 1 {
		t.Errorf("got %d bytes and log %s", size(), l.text.String())
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	refuse(accept)
	refuse(fate{err: errFull})
	if got := r.whole(amqp091.Delivery{}, "queue", errors.New("reason")); got != accept {
		t.Fatalf("got %+v for a message that fits", got)
	}
	refuse(fate{err: errFull})
	if size() > 1000 || l.count("is full") != 2 {
		t.Errorf("got %d bytes and log %s", size(), l.text.String())
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if got := r.whole(amqp091.Delivery{Body: make([]byte, 2000)}, "queue", errors.New("reason")); got != accept {
		t.Fatalf("got %+v for a message larger than the file, want it to be alone there", got)
	}
	if l.count("room for refused messages again") != 2 {
		t.Errorf("got log %s", l.text.String())
	}
	r.report()
	if l.count("undecodable_new=3 undecodable_all=4") != 1 { // each kept one once
		t.Errorf("got log %s", l.text.String())
	}

	// A message that cannot be kept comes back.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got := r.whole(amqp091.Delivery{}, "queue", errors.New("reason")); got.err == nil || got.reject {
		t.Errorf("got %+v, want an error", got)
	}
}
