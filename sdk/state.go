package sdk

import (
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"time"
)

// Key names what a transformer remembers something of.
type Key struct{ Meter, Resource string }

// State keeps a value per key over batches, restarts and crashes.
//
// What a call of Transform changed is kept together: it is in the state's file
// before the call's result leaves the process, and it is taken back when the
// same batch is given again. The file is written without waiting for the disk:
// it survives kill -9 of any process, and a loss of power costs the last seconds.
//
// A value type that implements encoding.BinaryAppender and, on its pointer,
// encoding.BinaryUnmarshaler is stored in that form; any other as JSON, which is
// slower. Values are replaced, by Set and Swap: what a pointer or a map in one
// leads to must not be changed, for it could not be taken back. A State belongs to
// one instance and, like its calls, to one goroutine at a time.
type State[V any] struct {
	cells  []cell[V]
	index  map[Key]uint32
	free   []uint32 // cells without a key, to be used again
	expire time.Duration
	log    *slog.Logger

	dirty []uint32    // cells changed by the call under way
	undo  []change[V] // what they held before it
	batch [16]byte    // what the last finished call was given
	swept time.Time

	file    *journal // nil: in memory only
	scratch []byte
}

type cell[V any] struct {
	key     Key
	value   V
	live    bool
	dirty   bool
	number  uint32 // of the key in the file, counted from 1; 0: not there yet
	touched int64  // Unix seconds
}

type change[V any] struct {
	key   Key
	value V
	live  bool
}

// stateLog is what the SDK drives around each Transform.
type stateLog interface {
	begin(batch [16]byte)
	rollback()
	commit() error
	close() error
}

// NewState opens the instance's state of the given name; call it in Start. Keys
// that no call touched for the time expire are forgotten, so that resources that
// are gone don't stay for ever; 0 keeps all.
func NewState[V any](env Env, name string, expire time.Duration) (*State[V], error) {
	s := &State[V]{index: map[Key]uint32{}, expire: expire, log: env.Log, swept: time.Now()}
	if env.StateDir != "" {
		path := filepath.Join(env.StateDir, name+".state")
		file, err := openJournal(path, s.replay)
		if err != nil {
			return nil, fmt.Errorf("cannot open state %q: %w", path, err)
		}
		s.file = file
		s.settle()
		s.sweep(time.Now().Unix())
		if file.damaged > 0 && s.log != nil {
			s.log.Warn("state file was damaged; what could be read is used", "path", path, "bytes_lost", file.damaged)
		}
	}
	if env.states != nil {
		*env.states = append(*env.states, s)
	}
	return s, nil
}

// Len is the number of keys.
func (s *State[V]) Len() int { return len(s.index) }

// Get gives the value of k.
func (s *State[V]) Get(k Key) (v V, ok bool) {
	if i, ok := s.index[k]; ok {
		return s.cells[i].value, true
	}
	return v, false
}

// Swap sets the value of k and gives the one before.
func (s *State[V]) Swap(k Key, v V) (before V, had bool) {
	i, had := s.index[k]
	if !had {
		i = s.place(k)
	}
	c := &s.cells[i]
	s.touch(i, c, had)
	before = c.value
	c.value = v
	return before, had
}

// Set sets the value of k.
func (s *State[V]) Set(k Key, v V) { s.Swap(k, v) }

// Delete forgets k.
func (s *State[V]) Delete(k Key) {
	if i, ok := s.index[k]; ok {
		s.touch(i, &s.cells[i], true)
		s.remove(i)
	}
}

// All yields all keys and their values, in no order. The state must not be
// changed meanwhile.
func (s *State[V]) All() iter.Seq2[Key, V] {
	return func(yield func(Key, V) bool) {
		for k, i := range s.index {
			if !yield(k, s.cells[i].value) {
				return
			}
		}
	}
}

// place gives k a cell.
func (s *State[V]) place(k Key) uint32 {
	var i uint32
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		i = uint32(len(s.cells))
		s.cells = append(s.cells, cell[V]{})
	}
	s.cells[i].key, s.cells[i].live = k, true
	s.index[k] = i
	return i
}

// remove takes the key out of a cell. The cell is used again only after the file
// has heard of it, in commit.
func (s *State[V]) remove(i uint32) {
	c := &s.cells[i]
	delete(s.index, c.key)
	var none V
	c.value, c.live = none, false
}

// touch notes what cell i held before the call under way changed it.
func (s *State[V]) touch(i uint32, c *cell[V], had bool) {
	if !c.dirty {
		c.dirty = true
		s.dirty = append(s.dirty, i)
		s.undo = append(s.undo, change[V]{c.key, c.value, had})
	}
}

func (s *State[V]) begin(batch [16]byte) {
	if batch == s.batch && batch != [16]byte{} {
		s.rollback()
		return
	}
	// The batch before is settled now: the file need not be able to take it back.
	if s.file != nil && s.file.wantsRewrite() {
		if err := s.rewrite(); err != nil && s.log != nil {
			s.log.Error("state is kept in memory only until its file can be written", "error", err)
		}
	}
	s.batch = batch
	s.undo = s.undo[:0]
}

// rollback takes back what the last call changed. The changes stand as dirty, so
// that the file learns of those that are not made again.
func (s *State[V]) rollback() {
	before := s.undo
	for n := len(before) - 1; n >= 0; n-- {
		if c := before[n]; c.live {
			s.Set(c.key, c.value)
		} else {
			s.Delete(c.key)
		}
	}
	s.undo = before[:len(before):len(before)]
}

func (s *State[V]) commit() error {
	now := time.Now().Unix()
	s.scratch = appendGroup(s.scratch[:0], s.batch, now)
	var err error
	for _, i := range s.dirty {
		c := &s.cells[i]
		c.touched = now
		if s.file != nil {
			var e error
			s.scratch, e = s.appendCell(s.scratch, c)
			err = cmp.Or(err, e)
		}
	}
	changed := len(s.dirty) > 0
	s.settle()
	if time.Since(s.swept) > s.expire/8 {
		s.sweep(now)
	}
	if s.file != nil && changed {
		return errors.Join(err, s.file.append(s.scratch))
	}
	return nil
}

// settle ends the call under way: its cells are no longer dirty, and those it
// emptied may be used again.
func (s *State[V]) settle() {
	for _, i := range s.dirty {
		c := &s.cells[i]
		c.dirty = false
		if !c.live {
			*c = cell[V]{}
			s.free = append(s.free, i)
		}
	}
	s.dirty = s.dirty[:0]
}

// sweep forgets keys that were not touched for long. The file loses them when it
// is rewritten next.
func (s *State[V]) sweep(now int64) {
	if s.expire == 0 {
		return
	}
	s.swept = time.Now()
	for i := range s.cells {
		if c := &s.cells[i]; c.live && now-c.touched > int64(s.expire/time.Second) {
			s.remove(uint32(i))
			*c = cell[V]{}
			s.free = append(s.free, uint32(i))
		}
	}
}

// rewrite gives the file the present values only, and none of them as the change
// of a batch, which could be taken back.
func (s *State[V]) rewrite() error {
	return s.file.rewrite(func(emit func([]byte) error) error {
		for i := range s.cells {
			s.cells[i].number = 0
		}
		group := appendGroup(nil, [16]byte{}, 0)
		for i := range s.cells {
			c := &s.cells[i]
			if !c.live {
				continue
			}
			var err error
			if group, err = s.appendCell(group, c); err != nil && s.log != nil {
				s.log.Error("a value of the state will not survive a restart", "error", err)
			}
			if len(group) > 64<<10 {
				if err := emit(group); err != nil {
					return err
				}
				group = appendGroup(group[:0], [16]byte{}, 0)
			}
		}
		return emit(group)
	})
}

func (s *State[V]) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.close()
}

// appendCell appends a cell's entry to a group. On an error the file forgets the
// key's value, for an old one would be wrong.
func (s *State[V]) appendCell(to []byte, c *cell[V]) ([]byte, error) {
	if !c.live && c.number == 0 {
		return to, nil // came and went within the call
	}
	fresh := c.number == 0
	if fresh {
		c.number = s.file.number()
	}
	begin := len(to)
	to = appendEntry(to, c.number, fresh, c.key, c.live, c.touched)
	if !c.live {
		return to, nil
	}
	to, err := appendValue(to, &c.value)
	if err != nil {
		return appendEntry(to[:begin], c.number, fresh, c.key, false, c.touched),
			fmt.Errorf("cannot store the value of meter %q, resource %q: %w", c.key.Meter, c.key.Resource, err)
	}
	return to, nil
}

// replay takes an entry out of the file. A value that can no longer be read, for
// its type has changed, is forgotten.
func (s *State[V]) replay(e entry) {
	if e.first {
		// A group begins: only the last batch, given once or more, can be taken back.
		s.settle()
		if e.batch != s.batch || e.batch == [16]byte{} {
			s.batch, s.undo = e.batch, s.undo[:0]
		}
		return
	}
	var value V
	live := e.live && readValue(e.value, &value) == nil
	i, had := s.index[e.key]
	switch {
	case live && !had:
		i = s.place(e.key)
	case !live && !had:
		return
	}
	c := &s.cells[i]
	s.touch(i, c, had)
	c.number, c.touched, c.value = e.number, e.touched, value
	if !live {
		s.remove(i)
	}
}

func appendValue[V any](to []byte, v *V) ([]byte, error) {
	at := len(to)
	to = append(to, 0, 0, 0, 0)
	if a, ok := any(v).(encoding.BinaryAppender); ok {
		var err error
		if to, err = a.AppendBinary(to); err != nil {
			return to, err
		}
	} else {
		data, err := json.Marshal(v)
		if err != nil {
			return to, err
		}
		to = append(to, data...)
	}
	putLength(to[at:], len(to)-at-4)
	return to, nil
}

func readValue[V any](data []byte, v *V) error {
	if u, ok := any(v).(encoding.BinaryUnmarshaler); ok {
		return u.UnmarshalBinary(data)
	}
	return json.Unmarshal(data, v)
}
