// Package accumulator is the transformer that holds samples back until there are
// enough of them, and hands them on together.
package accumulator

import (
	"context"
	_ "embed" // for the sample configuration
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/config"
)

//go:embed sample.toml
var sample string

// Plugin describes the transformer.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		Name:        "accumulator",
		Summary:     "Holds samples back until there are enough of them, and hands them on together",
		Sample:      sample,
		Transformer: func() sdk.Transformer { return new(transformer) },
	}
}

// How much is held at most, for it leaves in one answer.
const (
	most      = 100_000 // samples
	mostBytes = 8 << 20 // encoded
)

type transformer struct {
	Size      int           `toml:"size" default:"1" min:"0" max:"100000" doc:"Hands on when it holds so many samples; 1 holds nothing back, 0 leaves it to retention."`
	Retention time.Duration `toml:"retention" default:"0s" doc:"Hands on when it has held a sample for so long; 0 is never."`

	state *sdk.State[chunk]
	log   *slog.Logger
	now   func() time.Time
}

// Validate implements the check of the options.
func (t *transformer) Validate() error {
	if t.Size == 0 && t.Retention == 0 {
		return config.KeyError("size", "is 0 and there is no retention, so that nothing would ever be handed on")
	}
	return nil
}

// Start implements [sdk.Starter].
func (t *transformer) Start(_ context.Context, env sdk.Env) (err error) {
	t.log, t.now = env.Log, time.Now
	t.state, err = sdk.NewState[chunk](env, "chunks", 0)
	return err
}

// Transform implements [sdk.Transformer].
func (t *transformer) Transform(_ context.Context, in *sdk.Batch, out *sdk.Builder) error {
	for e := range in.Events() {
		out.AddEvent(in.Event(e))
	}
	in.KeepEvents(func(int) bool { return false })
	if in.Len() == 0 {
		return nil
	}
	data, err := in.Encode()
	if err != nil {
		return err
	}
	last, held, size := t.held()
	if held+in.Len() >= t.size() || size+len(data) > mostBytes {
		t.emit(out)
		if held == 0 {
			out.Forward(in)
			return nil
		}
		for _, s := range in.Samples() {
			out.Add(s)
		}
		return nil
	}
	t.state.Set(keyOf(last+1), chunk{number: last + 1, rows: uint32(in.Len()), since: t.now().UnixNano(), batch: data})
	return nil
}

func (t *transformer) size() int {
	if t.Size == 0 {
		return most
	}
	return t.Size
}

// FlushInterval implements [sdk.Flusher]: often enough that a sample is held for
// at most a tenth longer than asked for.
func (t *transformer) FlushInterval() time.Duration {
	if t.Retention == 0 {
		return 0
	}
	return max(t.Retention/10, 100*time.Millisecond)
}

// Flush implements [sdk.Flusher].
func (t *transformer) Flush(_ context.Context, now time.Time, out *sdk.Builder) error {
	for _, c := range t.state.All() {
		// A clock that was set back must not make anything wait for it.
		if age := now.Sub(time.Unix(0, c.since)); t.Retention > 0 && (age >= t.Retention || age < 0) {
			t.emit(out)
			return nil
		}
	}
	return nil
}

// held gives the number of the latest chunk, and how many samples and bytes all
// chunks have.
func (t *transformer) held() (last uint64, rows, size int) {
	for _, c := range t.state.All() {
		last = max(last, c.number)
		rows += int(c.rows)
		size += len(c.batch)
	}
	return last, rows, size
}

// emit hands on all that is held, in the order in which it came, as few large
// batches.
func (t *transformer) emit(out *sdk.Builder) {
	chunks := make([]chunk, 0, t.state.Len())
	for _, c := range t.state.All() {
		chunks = append(chunks, c)
	}
	slices.SortFunc(chunks, func(a, b chunk) int { return int(int64(a.number - b.number)) })
	for _, c := range chunks {
		t.state.Delete(keyOf(c.number))
		b, err := sdk.DecodeBatch(c.batch)
		if err != nil {
			t.log.Error("samples that were held back cannot be read and are lost", "samples", c.rows, "error", err)
			continue
		}
		for _, s := range b.Samples() {
			out.Add(s)
		}
	}
}

// chunk is a batch that is held back.
type chunk struct {
	number uint64 // in the order of arrival
	since  int64  // when it came, by this machine's clock, ns
	rows   uint32
	batch  []byte
}

func keyOf(number uint64) sdk.Key { return sdk.Key{Resource: fmt.Sprint(number)} }

// AppendBinary implements [encoding.BinaryAppender].
func (c chunk) AppendBinary(to []byte) ([]byte, error) {
	to = binary.LittleEndian.AppendUint64(to, c.number)
	to = binary.LittleEndian.AppendUint64(to, uint64(c.since))
	to = binary.LittleEndian.AppendUint32(to, c.rows)
	return append(to, c.batch...), nil
}

var errChunk = errors.New("a chunk has at least 20 bytes")

// UnmarshalBinary implements [encoding.BinaryUnmarshaler].
func (c *chunk) UnmarshalBinary(data []byte) error {
	if len(data) < 20 {
		return errChunk
	}
	c.number = binary.LittleEndian.Uint64(data)
	c.since = int64(binary.LittleEndian.Uint64(data[8:]))
	c.rows = binary.LittleEndian.Uint32(data[16:])
	c.batch = slices.Clone(data[20:])
	return nil
}
