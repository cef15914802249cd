package action

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
	"github.com/nephoscope/nepho/plugins/evaluator/judge"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// hook is a webhook that can be made to fail.
type hook struct {
	*httptest.Server
	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) // nil: it takes what comes
	ids   []string
	got   []string
	head  http.Header
}

func newHook(t *testing.T, secure bool) *hook {
	h := &hook{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h.mu.Lock()
		fault := h.fault
		h.mu.Unlock()
		if fault != nil {
			fault(w, r)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ids, h.got, h.head = append(h.ids, r.Header.Get("X-Nepho-Delivery-Id")), append(h.got, string(body)), r.Header
	})
	if secure {
		h.Server = httptest.NewTLSServer(handler)
	} else {
		h.Server = httptest.NewServer(handler)
	}
	t.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	return h
}

func (h *hook) fail(f func(http.ResponseWriter, *http.Request)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

func (h *hook) bodies() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// rig is a queue over a store.
type rig struct {
	t     *testing.T
	store *store.Store
	queue *Queue
	stop  context.CancelFunc
	done  chan struct{}
	where string
	o     Options
}

func newRig(t *testing.T, more ...Target) *rig {
	t.Helper()
	r := &rig{t: t, where: filepath.Join(t.TempDir(), "alarms.sqlite")}
	h, err := NewHTTP(Target{}, more)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	r.o = Options{Senders: map[string]Sender{"http": h, "https": h}, First: time.Millisecond, Longest: 20 * time.Millisecond, GiveUp: time.Hour, Timeout: time.Minute}
	r.start()
	t.Cleanup(func() { r.end() })
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.store, err = store.Open(r.t.Context(), store.Options{URL: r.where}); err != nil {
		r.t.Fatal(err)
	}
	r.o.Store = r.store
	r.queue = New(r.o)
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.done = make(chan struct{})
	go func() { defer close(r.done); _ = r.queue.Run(ctx) }()
}

func (r *rig) end() {
	r.stop()
	<-r.done
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

// alarm stores an alarm with an action.
func (r *rig) alarm(action string) *store.Summary {
	r.t.Helper()
	p, err := def.Read([]byte(fmt.Sprintf(`{"name": "a", "type": "event", "event_rule": {}, "alarm_actions": [%q]}`, action)))
	if err != nil {
		r.t.Fatal(err)
	}
	a := &store.Alarm{Alarm: p.Alarm}
	a.ID = uuid.New()
	if err := r.store.Create(r.t.Context(), a, store.Limits{Project: -1, User: -1}, nil); err != nil {
		r.t.Fatal(err)
	}
	return &store.Summary{ID: a.ID, Name: a.Name, Actions: a.Actions}
}

// fire commits a repeated notice of an alarm.
func (r *rig) fire(a *store.Summary, version int64, text string) {
	r.t.Helper()
	list := Owed(a, def.OK, &judge.Outcome{State: def.Alerting, Reason: text, Data: def.Object{}}, uuid.New(), time.Now())
	made, err := r.store.Commit(r.t.Context(), []*store.Transition{{ID: a.ID, Definition: 1, Previous: version, Deliveries: list}})
	if err != nil || !made[0] {
		r.t.Fatalf("not committed: %v, %v", made, err)
	}
	for _, d := range list {
		r.queue.Owed([]string{d.Target})
	}
}

func (r *rig) await(what string, f func() bool) {
	r.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within two minutes", what)
		}
	}
}

func reasons(bodies []string) (list []string) {
	for _, b := range bodies {
		_, rest, _ := strings.Cut(b, `"reason": "`)
		reason, _, _ := strings.Cut(rest, `"`)
		list = append(list, reason)
	}
	return list
}

var faults = map[string]func(w http.ResponseWriter, r *http.Request){
	"500":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
	"429":         func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "1"); w.WriteHeader(429) },
	"hang":        func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	"close":       func(w http.ResponseWriter, _ *http.Request) { hijack(w, "") },
	"close early": func(w http.ResponseWriter, _ *http.Request) { hijack(w, "HTTP/1.1 200 ") },
	"no HTTP":     func(w http.ResponseWriter, _ *http.Request) { hijack(w, "220 mail.example.com ESMTP\r\n") },
	"loop":        func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
}

func hijack(w http.ResponseWriter, text string) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(c, text)
	c.Close()
}

// unhurried is a sender whose attempts end by themselves, but for those to one host: others may
// have taken what is sent to them again because the attempt ended before their answer came.
type unhurried struct {
	Sender
	but string
}

func (s unhurried) Send(ctx context.Context, action *url.URL, d *store.Delivery) error {
	if action.Host != s.but {
		ctx = context.WithoutCancel(ctx)
	}
	return s.Sender.Send(ctx, action, d)
}

// TestTargetsRecover: whatever a target does, everything reaches it once and in order when
// it works again, and nobody else waits.
func TestTargetsRecover(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			bad, good := newHook(t, false), newHook(t, false)
			if name == "hang" {
				r.end()
				r.o.Timeout = 300 * time.Millisecond
				r.o.Senders["http"] = unhurried{r.o.Senders["http"], bad.Listener.Addr().String()}
				r.start()
			}
			a, b := r.alarm(bad.URL+"/x"), r.alarm(good.URL)
			bad.fail(fault)
			var want []string
			for i := range 20 {
				text := fmt.Sprint("number ", i)
				want = append(want, text)
				r.fire(a, 1, text)
				r.fire(b, 1, text)
			}
			r.await("the good target has all", func() bool { return len(good.bodies()) == len(want) })
			r.await("it is noticed that the other fails", func() bool { return len(r.queue.Failing()) == 1 })
			if n := len(bad.bodies()); n > 0 {
				t.Fatalf("%d deliveries while it failed", n)
			}
			r.await("only the other is owed something", func() bool { owed, err := r.store.Targets(t.Context()); return err == nil && len(owed) == 1 })
			r.end() // also what is owed at the end is done after a start
			if name == "hang" {
				bad.fail(nil)
				r.o.Timeout = time.Minute
			}
			r.start()
			bad.fail(nil)
			r.await("the bad target has all", func() bool { return len(bad.bodies()) >= len(want) })
			r.await("nothing is owed", func() bool { owed, err := r.store.Targets(t.Context()); return err == nil && len(owed) == 0 })
			if got := reasons(bad.bodies()); !slices.Equal(got, want) {
				t.Errorf("got %q", got)
			}
			if got := reasons(good.bodies()); !slices.Equal(got, want) {
				t.Errorf("the good target got %q", got)
			}
		})
	}
}

// refusing is an address that refuses connections: its port is held, so that nobody else gets
// it, and not listened on.
func refusing(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

func TestRefusedTarget(t *testing.T) {
	r := newRig(t)
	address := refusing(t)
	a := r.alarm("http://" + address + "/")
	r.fire(a, 1, "x")
	r.await("it is noticed", func() bool { return len(r.queue.Failing()) == 1 })
	list, err := r.store.Owed(t.Context(), "http://"+address, 0, 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("owed is %v, %v", list, err)
	}
	r.await("the attempts are noted", func() bool {
		list, err := r.store.Owed(t.Context(), "http://"+address, 0, 10)
		return err == nil && len(list) == 1 && list[0].Tries > 2 && strings.Contains(list[0].Failed, "refused")
	})
}

func TestRedirectedPosts(t *testing.T) {
	for _, code := range []int{301, 302, 307, 308} {
		r := newRig(t)
		to := newHook(t, false)
		from := newHook(t, false)
		from.fail(func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, to.URL+"/there", code) })
		r.fire(r.alarm(from.URL), 1, "x")
		r.await(fmt.Sprint("it arrives after ", code), func() bool { return len(to.bodies()) == 1 })
	}
}

func TestDeadLetters(t *testing.T) {
	r := newRig(t)
	h := newHook(t, false)
	h.fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	r.fire(r.alarm(h.URL), 1, "x")
	var dead []*store.Delivery
	r.await("it is given up", func() bool {
		var err error
		dead, err = r.store.Deliveries(t.Context(), nil, true, 0, 10)
		return err == nil && len(dead) == 1
	})
	if dead[0].Failed != "it answers 410 Gone" || dead[0].Tries != 1 {
		t.Errorf("dead is %+v", dead[0])
	}
	h.fail(nil)
	target, err := r.store.Revive(t.Context(), dead[0].Ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.queue.Retry(target)
	r.await("it arrives", func() bool { return len(h.bodies()) == 1 })
	if h.ids[0] != dead[0].ID.String() {
		t.Errorf("its id is %s, and was %s", h.ids[0], dead[0].ID)
	}
	r.await("both attempts are counted", func() bool { return r.queue.Counters() == Counters{Attempts: 2, Failures: 1} })
}

// TestDeletedAlarmsDoNotFire: not even those whose target works again later.
func TestDeletedAlarmsDoNotFire(t *testing.T) {
	r := newRig(t)
	h := newHook(t, false)
	h.fail(faults["500"])
	a, b := r.alarm(h.URL), r.alarm(h.URL)
	for i := range 10 {
		r.fire(a, 1, fmt.Sprint("deleted ", i))
		r.fire(b, 1, fmt.Sprint("stays ", i))
	}
	r.await("it fails", func() bool { return len(r.queue.Failing()) == 1 })
	if err := r.store.Delete(t.Context(), a.ID, nil); err != nil {
		t.Fatal(err)
	}
	h.fail(nil)
	r.await("the other has all", func() bool { owed, err := r.store.Targets(t.Context()); return err == nil && len(owed) == 0 })
	for _, reason := range reasons(h.bodies()) {
		// The one whose attempt was under way may have arrived.
		if strings.HasPrefix(reason, "deleted") && reason != "deleted 0" {
			t.Errorf("%s fired", reason)
		}
	}
}

func TestSignatureAndTLS(t *testing.T) {
	h := newHook(t, true)
	r := newRig(t, Target{URL: h.URL + "/signed", Secret: "s3", TLS: TLS{Insecure: true}})
	r.fire(r.alarm(h.URL+"/signed/x"), 1, "x")
	r.await("it arrives", func() bool { return len(h.bodies()) == 1 })
	h.mu.Lock()
	if want := "sha256=" + Sign("s3", h.head.Get("X-Nepho-Delivery-Id"), h.head.Get("X-Nepho-Timestamp"), h.got[0]); h.head.Get("X-Nepho-Signature") != want {
		t.Errorf("the signature is %s, not %s", h.head.Get("X-Nepho-Signature"), want)
	}
	h.mu.Unlock()
	// Others are not believed, unless they say so.
	r.fire(r.alarm(h.URL+"/other"), 1, "x")
	r.await("it is not believed", func() bool { return len(r.queue.Failing()) == 1 })
	r.fire(r.alarm(h.URL+"/third?aodh-alarm-ssl-verify=0"), 1, "x")
	r.await("it is believed", func() bool { return len(h.bodies()) == 2 })
}

// A message is what Aodh 15 sends, byte by byte.
func TestMessage(t *testing.T) {
	a := &store.Summary{ID: uuid.MustParse("0e406590-f84d-403d-b050-a9d521cd2eb4"), Name: "é2e", Actions: [3][]string{def.Alerting: {"http://x/y?z=1", "log:"}}}
	o := &judge.Outcome{State: def.Alerting, Reason: "Transition to alarm due to 1 samples outside threshold, most recent: 100.0", Data: def.Object{
		{Name: "type", Value: "threshold"}, {Name: "disposition", Value: "outside"}, {Name: "count", Value: 1}, {Name: "most_recent", Value: 100.0},
	}}
	list := Owed(a, def.OK, o, uuid.New(), time.Now())
	want := `{"alarm_name": "\u00e92e", "alarm_id": "0e406590-f84d-403d-b050-a9d521cd2eb4", "severity": "low", "previous": "ok", "current": "alarm", ` +
		`"reason": "Transition to alarm due to 1 samples outside threshold, most recent: 100.0", ` +
		`"reason_data": {"type": "threshold", "disposition": "outside", "count": 1, "most_recent": 100.0}}`
	if len(list) != 2 || list[0].Body != want || list[0].Target != "http://x/y" || list[1].Target != "log:#4" {
		t.Errorf("got %+v", list)
	}
}
