package supervisor

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// held is a log whose writers wait, from the first end of a plugin on, until it is
// let go.
type held struct{ letGo chan struct{} }

func (h held) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("plugin ended")) {
		<-h.letGo
	}
	return io.Discard.Write(p)
}

// An instance tells why it is not ready where its process is the reason.
func TestReasonOfTheProcess(t *testing.T) {
	t.Parallel()
	f := func(why string, want State, spoil func(*Spec)) {
		t.Helper()
		spec, _ := newSpec(t, "")
		spoil(&spec)
		h := held{make(chan struct{})}
		if want == Starting { // it starts again, and has soon failed, once its end is logged
			spec.Log = slog.New(slog.NewTextHandler(h, nil))
		}
		p := start(t, spec)
		letGo := sync.OnceFunc(func() { close(h.letGo) })
		t.Cleanup(letGo)
		i := p.Add(request(t, "i", ""))
		eventually(t, "its state is "+string(want)+": "+why, func() bool {
			state, err := i.Status()
			return state == want && err != nil && strings.Contains(err.Error(), why)
		})
		letGo()
		stop(t, i)
		if state, err := i.Status(); state != Stopped || err != nil {
			t.Errorf("it is %s, %v", state, err)
		}
	}
	dies := func(s *Spec) { s.Env = append(s.Env, "BEHAVIOUR=die") }
	missing := func(s *Spec) { s.Path, s.Bundled = "/nowhere/plugin", false }
	f("exit status 7", Starting, dies)
	f("exit status 7", Failed, dies)
	f("no such file", Starting, missing)
	f("no such file", Failed, func(s *Spec) { missing(s); s.Once = true })
}
