package figure

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/wire"
)

// Read gives what an instance answered, sorted by names and labels. The error says what
// was left out, what the plugin itself says went wrong, and what is wrong with its
// declaration; figures beside it are right.
func (d *Declared) Read(reply *wire.MeasureReply) ([]Figure, error) {
	wrong := d.wrong
	if reply.GetError() != "" {
		text := strings.ToValidUTF8(reply.Error[:min(len(reply.Error), 1<<10)], "\uFFFD")
		wrong = errors.Join(wrong, errors.New(text))
	}
	if len(reply.GetBatch()) == 0 || len(d.meters) == 0 {
		return nil, wrong
	}
	if n := len(reply.Batch); n > MaxBytes {
		return nil, errors.Join(wrong, fmt.Errorf("the figures have %d bytes, %d are allowed", n, MaxBytes))
	}
	b, err := sdk.DecodeBatch(reply.Batch)
	if err != nil {
		return nil, errors.Join(wrong, err)
	}
	r := reader{d: d, b: b, labels: map[int]labels{}, seen: map[string]bool{}}
	var first error
	left := 0
	for i := range min(b.Len(), MaxFigures) {
		if err := r.row(i); err != nil {
			if left++; first == nil {
				first = err
			}
		}
	}
	if left > 0 {
		wrong = errors.Join(wrong, fmt.Errorf("%d figures are left out, the first because %w", left, first))
	}
	if b.Len() > MaxFigures || b.Events() > 0 {
		wrong = errors.Join(wrong, fmt.Errorf("%d figures and %d events were told; %d and none are allowed", b.Len(), b.Events(), MaxFigures))
	}
	slices.SortFunc(r.figures, func(a, b told) int { return strings.Compare(a.key, b.key) })
	figures := make([]Figure, len(r.figures))
	for i, f := range r.figures {
		figures[i] = f.Figure
	}
	return figures, wrong
}

// reader takes the rows of an answer.
type reader struct {
	d       *Declared
	b       *sdk.Batch
	labels  map[int]labels // by resource
	seen    map[string]bool
	figures []told
}

// told is a figure with what tells it from others.
type told struct {
	Figure
	key string
}

// labels are those of a resource.
type labels struct {
	set map[string]string
	key string
	err error
}

func (r *reader) row(i int) error {
	m := r.b.Meter(r.b.MeterOf(i))
	declared, ok := r.d.meters[m.Name]
	if !ok || declared.Type != m.Type || declared.Unit != m.Unit {
		return fmt.Errorf("meter %.64q of type %v and unit %.64q is not declared", m.Name, m.Type, m.Unit)
	}
	v := r.b.Volume(i)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Errorf("meter %q is %v, which is no figure", m.Name, v)
	}
	at := r.b.ResourceOf(i)
	l, known := r.labels[at]
	if !known {
		l = labelsOf(r.b.Resource(at).Metadata)
		r.labels[at] = l
	}
	if l.err != nil {
		return fmt.Errorf("meter %q has %w", m.Name, l.err)
	}
	key := m.Name + "\x00" + l.key
	if r.seen[key] {
		return fmt.Errorf("meter %q comes twice with the labels %v", m.Name, l.set)
	}
	r.seen[key] = true
	r.figures = append(r.figures, told{Figure{declared, l.set, v}, key})
	return nil
}

func labelsOf(metadata sdk.Metadata) (l labels) {
	if len(metadata) > MaxLabels {
		l.err = fmt.Errorf("%d labels, %d are allowed", len(metadata), MaxLabels)
		return l
	}
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		var value string
		switch v := metadata[name].(type) {
		case string:
			value = v
		case int64:
			value = strconv.FormatInt(v, 10)
		case float64:
			value = strconv.FormatFloat(v, 'g', -1, 64)
		case bool:
			value = strconv.FormatBool(v)
		}
		switch {
		case !labelName.MatchString(name) || len(name) > maxName:
			l.err = fmt.Errorf("the label %.64q, which is no word in lower case", name)
		case name == "instance" || name == "host":
			l.err = fmt.Errorf("the label %s, which is the host's", name)
		case value == "" || len(value) > maxText:
			l.err = fmt.Errorf("the label %s without a text, a number or a boolean of 1 to %d bytes", name, maxText)
		}
		if l.err != nil {
			return l
		}
		if l.set == nil {
			l.set = map[string]string{}
		}
		l.set[name] = value
		key.WriteString(name + "\x00" + value + "\x00")
	}
	l.key = key.String()
	return l
}
