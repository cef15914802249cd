package store

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	def "github.com/nephoscope/nepho/plugins/evaluator/definition"
)

// TestTrustsToRemove: what an alarm loses of trusts, by a change or with itself, is owed
// from then on, whatever happens to the alarm.
func TestTrustsToRemove(t *testing.T) {
	both(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		owed := func(want ...string) {
			t.Helper()
			list, err := s.Owed(ctx, TrustTarget, 0, 10)
			ok(t, err)
			var got []string
			for _, d := range list {
				got = append(got, d.Action)
				if d.Project != "p" || d.ID == uuid.Nil || d.Created.IsZero() {
					t.Errorf("owed is %+v", d)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("owed is %q, not %q", got, want)
			}
		}
		acting := func(a *Alarm, actions ...string) *Alarm {
			a.Actions = [3][]string{def.Alerting: actions}
			return a
		}
		a := acting(newAlarm(t, "a", "p"), "https://x/y", "trust+https://one@x/y?a=b")
		b := acting(newAlarm(t, "b", "p"), "https://user@x/y")
		ok(t, s.Create(ctx, a, anyNumber, nil))
		ok(t, s.Create(ctx, b, anyNumber, nil))
		owed()
		acting(a, "trust+zaqar://one@?queue_name=q")
		ok(t, s.Update(ctx, a, nil, nil)) // keeps its trust
		ok(t, s.Update(ctx, acting(b), nil, nil))
		owed()
		acting(a, "trust+https://two@x/y")
		a.Project = "q" // it was in p when it had the trust
		ok(t, s.Update(ctx, a, nil, nil))
		owed("trust:one")
		// A change that is not made loses none.
		old := *a
		old.Alarm.Version--
		is(t, s.Update(ctx, acting(&old), nil, nil), ErrChanged)
		owed("trust:one")
		a.Project = "p"
		ok(t, s.Update(ctx, a, nil, nil))
		ok(t, s.Delete(ctx, a.ID, lineOf(a, Deletion)))
		ok(t, s.Delete(ctx, b.ID, nil))
		ok(t, s.Untrust(ctx, &b.Alarm, "three"))
		owed("trust:one", "trust:two", "trust:three")
	})
}
