package api

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/aggregator/index"
)

// labelKey stands for who writes and a set of labels as it was written. It is made
// with seeds that nobody knows, so that no two are alike.
type labelKey struct{ a, b uint64 }

// labelCache remembers the metrics of sets of labels, so that those that come again
// and again need not be read, nor looked for in the index. It may be used
// concurrently.
type labelCache struct {
	seeds [2]maphash.Seed
	mu    sync.RWMutex
	ids   map[labelKey]uuid.UUID
}

// maxLabelSets is how many sets of labels are remembered, of about 100 bytes each.
const maxLabelSets = 2_000_000

func newLabelCache() *labelCache {
	return &labelCache{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, ids: map[labelKey]uuid.UUID{}}
}

// setKeys sets the keys of series that somebody writes.
func (c *labelCache) setKeys(creator string, series []remoteSeries) {
	who := labelKey{maphash.String(c.seeds[0], creator), maphash.String(c.seeds[1], creator)}
	for i := range series {
		labels := series[i].labels
		series[i].key = labelKey{maphash.Bytes(c.seeds[0], labels) + who.a, maphash.Bytes(c.seeds[1], labels) + who.b}
	}
}

// find looks for the metrics of series by their keys, and gives the number of those
// that it does not find, whose entries are nil.
func (c *labelCache) find(x *index.Index, series []remoteSeries, entries []*index.Entry) (missing int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for i := range series {
		entries[i] = nil
		if id, ok := c.ids[series[i].key]; ok {
			// The index knows whether the metric was deleted.
			if entry, ok := x.Cached(id); ok {
				entries[i] = entry
				continue
			}
		}
		missing++
	}
	return missing
}

func (c *labelCache) add(key labelKey, id uuid.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ids) >= maxLabelSets {
		clear(c.ids)
	}
	c.ids[key] = id
}

// labelSet is a set of labels, and the metric that it is.
type labelSet struct {
	labels map[string]string
	// plain is the name of the metric if no other set of the resource has it, and
	// long the name that only this set has.
	plain, long string
	name        string // which of them it is
	entry       *index.Entry
	series      []int // places in the request
}

// parseLabels reads the labels of a series. Those without a value are not there.
func parseLabels(message []byte) (*labelSet, error) {
	set := &labelSet{labels: map[string]string{}}
	const none = "\xff" // is no label
	twice, zero := "", none
	err := readLabels(message, func(name, value string) {
		if _, ok := set.labels[name]; ok {
			twice = name
		}
		if value != "" {
			set.labels[name] = value
		}
		if strings.ContainsRune(name+value, 0) {
			zero = name
		}
	})
	switch {
	case err != nil:
		return nil, err
	case zero != none:
		return nil, fmt.Errorf("the label %q has the character U+0000", zero)
	case twice != "":
		return nil, fmt.Errorf("it has the label %q twice", twice)
	case set.labels["__name__"] == "":
		return nil, errors.New("it has no label __name__")
	}
	set.setNames()
	return set, nil
}

// setNames makes the names of the metric: its __name__, and the same with its other
// labels, but for those of the resource.
func (s *labelSet) setNames() {
	s.plain = unslash(s.labels["__name__"])
	var exact strings.Builder
	exact.WriteString(s.labels["__name__"])
	separator := "{"
	for _, name := range slices.Sorted(maps.Keys(s.labels)) {
		if name == "__name__" || name == "job" || name == "instance" {
			continue
		}
		exact.WriteString(separator + name + "=" + strconv.Quote(s.labels[name]))
		separator = ","
	}
	if separator == "," {
		exact.WriteByte('}')
	}
	s.long = exact.String()
	if strings.Contains(s.long, "/") || len(s.long) > maxName {
		// Another set could have this name, too.
		s.long = shortened(unslash(s.long), s.long)
	}
	if len(s.plain) > maxName {
		s.plain = s.long
	}
}

// shortened is a text of at most maxName bytes that stands for another one: its
// start, and a part of the other's digest.
func shortened(text, other string) string {
	sum := sha256.Sum256([]byte(other))
	suffix := "#" + hex.EncodeToString(sum[:8])
	return strings.ToValidUTF8(text[:min(len(text), maxName-len(suffix))], "") + suffix
}

// unslash replaces what names of metrics and resources may not have.
func unslash(text string) string { return strings.ReplaceAll(text, "/", "_") }

// resource is what the resource is called: JOB@INSTANCE, none for what is missing.
func (s *labelSet) resource() (text string, attributes map[string]any) {
	attributes = map[string]any{}
	for _, name := range [...]string{"job", "instance"} {
		value := s.labels[name]
		if value == "" {
			value = "none"
		}
		if text != "" {
			text += "@"
		}
		text += value
		if len(value) > maxName {
			value = shortened(value, value)
		}
		attributes[name] = value
	}
	job, instance := s.labels["job"], s.labels["instance"]
	if strings.Contains(text, "/") || len(text) > maxName || strings.Contains(job, "@") || job == "none" || instance == "none" {
		// Others could be called this, too.
		text = shortened(unslash(text), strconv.Quote(job)+strconv.Quote(instance))
	}
	return text, attributes
}

// match finds, among metrics of the resource, that of the set.
func (s *labelSet) match(metrics []*index.Metric) *index.Metric {
	for _, m := range metrics {
		if (m.Name == s.plain || m.Name == s.long) && maps.Equal(m.Labels, s.labels) {
			return m
		}
	}
	return nil
}
