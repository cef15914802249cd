package derive

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// point is what is remembered of a sample.
type point struct {
	time, monotonic int64 // ns
	volume          float64
}

// AppendBinary implements [encoding.BinaryAppender].
func (p point) AppendBinary(to []byte) ([]byte, error) {
	to = binary.LittleEndian.AppendUint64(to, uint64(p.time))
	to = binary.LittleEndian.AppendUint64(to, uint64(p.monotonic))
	return binary.LittleEndian.AppendUint64(to, math.Float64bits(p.volume)), nil
}

var errPoint = errors.New("a remembered sample has 24 bytes")

// UnmarshalBinary implements [encoding.BinaryUnmarshaler].
func (p *point) UnmarshalBinary(data []byte) error {
	if len(data) != 24 {
		return errPoint
	}
	p.time = int64(binary.LittleEndian.Uint64(data))
	p.monotonic = int64(binary.LittleEndian.Uint64(data[8:]))
	p.volume = math.Float64frombits(binary.LittleEndian.Uint64(data[16:]))
	return nil
}

const (
	// A remembered sample that is later than now by more than this was taken
	// before somebody set the clock back.
	futureTolerance = 5 * time.Second
	// Wall clock and monotonic clock of one machine drift apart by far less than
	// this share, unless the wall clock is stepped.
	driftShare     = 100
	driftTolerance = time.Second
)

// History compares each sample with the one before of the same meter and
// resource.
type History struct {
	state *sdk.State[point]
	now   func() time.Time

	batch     *sdk.Batch
	meters    []sdk.Meter
	resources []string
}

// OpenHistory opens the instance's history; call it in Start.
func OpenHistory(env sdk.Env, expire time.Duration) (*History, error) {
	state, err := sdk.NewState[point](env, "history", expire)
	if err != nil {
		return nil, err
	}
	return &History{state: state, now: time.Now}, nil
}

// Begin sets the batch whose rows are asked for next. Its tables may be edited
// afterwards.
func (h *History) Begin(b *sdk.Batch) {
	h.batch, h.meters, h.resources = b, h.meters[:0], h.resources[:0]
	for m := range b.Meters() {
		h.meters = append(h.meters, b.Meter(m))
	}
	for r := range b.Resources() {
		h.resources = append(h.resources, b.ResourceID(r))
	}
}

// Step tells by how much row i differs from the sample before, and how long ago
// that was. A cumulative meter that went down was reset: it grew by what it
// shows, at least. ok is false for the first sample and for one that is no later
// than the sample before: late ones and duplicates; and where the difference is no
// finite number.
func (h *History) Step(i int) (change float64, elapsed time.Duration, ok bool) {
	b := h.batch
	meter := h.meters[b.MeterOf(i)]
	p := point{b.UnixNano(i), int64(b.Monotonic(i)), b.Volume(i)}
	if math.IsNaN(p.volume) || math.IsInf(p.volume, 0) {
		return 0, 0, false
	}
	key := sdk.Key{Meter: meter.Name, Resource: h.resources[b.ResourceOf(i)]}
	before, had := h.state.Swap(key, p)
	if !had {
		return 0, 0, false
	}
	reset := meter.Type == sdk.Cumulative && p.volume < before.volume
	elapsed = p.since(before, reset)
	if elapsed <= 0 {
		// What is remembered stays, unless it is from a time that has yet to come:
		// nothing would be computed until the clock is there again.
		if future := time.Unix(0, before.time).Sub(h.now()) > futureTolerance; !future || elapsed == 0 {
			h.state.Set(key, before)
		}
		return 0, 0, false
	}
	if reset {
		return p.volume, elapsed, true
	}
	change = p.volume - before.volume
	return change, elapsed, !math.IsInf(change, 0)
}

// since is the time between two samples. The monotonic clock knows it best, for
// nobody steps it. But it is another clock after a reboot or on another machine,
// which shows in that it is behind, or in that it disagrees with the wall clock
// just when the counter started anew.
func (p point) since(before point, reset bool) time.Duration {
	wall := time.Duration(p.time - before.time)
	if p.monotonic == 0 || before.monotonic == 0 || p.monotonic < before.monotonic {
		return wall
	}
	monotonic := time.Duration(p.monotonic - before.monotonic)
	if reset && (wall-monotonic).Abs() > driftTolerance+monotonic/driftShare {
		return wall
	}
	return monotonic
}
