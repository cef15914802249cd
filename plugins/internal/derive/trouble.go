package derive

import (
	"log/slog"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// quiet is how long nothing must fail for trouble to be over. Failures come and
// go with the resources that a batch happens to hold.
const quiet = 10 * time.Minute

// Trouble tells the log of samples that cannot be computed: when it begins and
// when it is over, not for each one.
type Trouble struct {
	log     *slog.Logger
	samples int
	last    time.Time
}

// NewTrouble reports to the instance's log.
func NewTrouble(env sdk.Env) *Trouble {
	if env.Log == nil {
		return &Trouble{log: slog.New(slog.DiscardHandler)}
	}
	return &Trouble{log: env.Log}
}

// Add counts a sample that err keeps from being computed.
func (t *Trouble) Add(err error, meter, resource string) {
	t.samples++
	t.last = time.Now()
	if t.samples == 1 {
		t.log.Warn("samples are left out, for their volume cannot be computed; more of them are not logged",
			"error", err, "meter", meter, "resource_id", resource)
	}
}

// AddRow counts row i of the batch.
func (t *Trouble) AddRow(err error, b *sdk.Batch, i int) {
	t.Add(err, b.Meter(b.MeterOf(i)).Name, b.ResourceID(b.ResourceOf(i)))
}

// Settle is called once per batch.
func (t *Trouble) Settle() {
	if t.samples > 0 && time.Since(t.last) > quiet {
		t.log.Info("no more samples are left out", "samples_left_out", t.samples, "for", quiet)
		t.samples = 0
	}
}
