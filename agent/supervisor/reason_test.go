package supervisor

import (
	"strings"
	"testing"
)

// An instance tells why it is not ready where its process is the reason.
func TestReasonOfTheProcess(t *testing.T) {
	t.Parallel()
	f := func(why string, want State, spoil func(*Spec)) {
		t.Helper()
		spec, _ := newSpec(t, "")
		spoil(&spec)
		i := start(t, spec).Add(request(t, "i", ""))
		eventually(t, "its state is "+string(want)+": "+why, func() bool {
			state, err := i.Status()
			return state == want && err != nil && strings.Contains(err.Error(), why)
		})
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
