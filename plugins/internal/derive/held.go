package derive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// Row gives row i of a batch without its id, which what is made of it cannot have.
func Row(b *sdk.Batch, i int) sdk.Sample {
	m, r := b.Meter(b.MeterOf(i)), b.Resource(b.ResourceOf(i))
	return sdk.Sample{
		Name: m.Name, Type: m.Type, Unit: m.Unit, Volume: b.Volume(i), ResourceID: r.ID, ProjectID: r.ProjectID, UserID: r.UserID,
		Source: r.Source, Metadata: r.Metadata, Timestamp: b.Time(i), Monotonic: b.Monotonic(i),
	}
}

// Held is a sample as a transformer's state keeps it.
type Held struct{ sdk.Sample }

// AppendBinary implements [encoding.BinaryAppender]: the monotonic time, and the
// JSON form, which lacks it.
func (h Held) AppendBinary(to []byte) ([]byte, error) {
	return h.AppendJSON(binary.LittleEndian.AppendUint64(to, uint64(h.Monotonic))), nil
}

var errHeld = errors.New("a held sample has at least 8 bytes")

// UnmarshalBinary implements [encoding.BinaryUnmarshaler].
func (h *Held) UnmarshalBinary(data []byte) error {
	if len(data) < 8 {
		return errHeld
	}
	if err := h.UnmarshalJSON(data[8:]); err != nil {
		return fmt.Errorf("cannot read a held sample: %w", err)
	}
	h.Monotonic = time.Duration(binary.LittleEndian.Uint64(data))
	return nil
}
