package block

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/nephoscope/nepho/aggregator/column"
	"github.com/nephoscope/nepho/aggregator/window"
)

// Inspect writes what is in a file for people to read: what it holds, what each column takes and how it is
// packed, and a line per metric. With refs, it tells of these metrics only, and a line per segment. What is
// damaged is told as well. It fails as Open does, and when the file can't be read or written to out.
func Inspect(out io.Writer, r io.ReaderAt, size int64, refs ...uint64) error {
	b, err := Open(r, size)
	if err != nil {
		return err
	}
	i := inspection{file: b, columns: map[window.Column]*columnUse{}}
	for e := range b.footer.all() {
		if len(refs) == 0 || slices.Contains(refs, e.ref) {
			if err := i.metric(e, len(refs) > 0); err != nil {
				return err
			}
		}
	}
	w := bufio.NewWriter(out) // it keeps an error
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	i.write(t)
	t.Flush() //nolint:errcheck // w keeps it
	return w.Flush()
}

// inspection is what was seen of a file.
type inspection struct {
	file    *Reader
	reading reading
	columns map[window.Column]*columnUse
	body    int64 // bytes of columns
	windows int64
	bytes   int64 // of chunks
	lines   []string
	damage  []error
}

// columnUse is what a column takes.
type columnUse struct {
	bytes, windows int64
	packed         map[string]int // segments by how they are packed
}

// metric looks at a metric's chunk.
func (i *inspection) metric(e entry, detailed bool) error {
	var windows, segments int64
	var details []string
	err := i.file.segments(&i.reading, e, math.MinInt64, math.MaxInt64, func(s *segment, body []byte) error {
		segments++
		windows += int64(s.windows)
		u := &i.reading.unpacker
		if err := u.open(e.ref, s, body); err != nil {
			i.damage = append(i.damage, i.file.segmentDamage(e, s, err))
			return nil
		}
		details = append(details, i.line(fmt.Sprint("  +", s.offset), s.first, s.last(), int64(s.windows), s.length))
		for k := range u.columns {
			i.column(u, k)
		}
		return nil
	})
	if damage := (*DamageError)(nil); errors.As(err, &damage) {
		i.damage = append(i.damage, damage)
	} else if err != nil {
		return fmt.Errorf("cannot read block file: %w", err)
	}
	i.windows += windows
	i.bytes += e.length
	i.lines = append(i.lines, i.line(fmt.Sprint(e.ref), e.first, e.last, windows, e.length))
	if detailed {
		i.lines = append(i.lines, details...)
	}
	return nil
}

func (i *inspection) column(u *unpacker, k int) {
	c := &u.columns[k]
	use := i.columns[c.column]
	if use == nil {
		use = &columnUse{packed: map[string]int{}}
		i.columns[c.column] = use
	}
	use.bytes += int64(len(c.body))
	use.windows += int64(u.windows)
	use.packed[c.describe(u.windows)]++
	i.body += int64(len(c.body))
}

// describe tells how a column of n windows is packed.
func (c *packed) describe(n int) string {
	body := c.body
	text := c.form.String()
	if c.form.refers() {
		text += fmt.Sprintf(" %v", window.Column(body[0]))
		body = body[1:]
	}
	switch {
	case c.form == formSame:
		return text
	case c.form == formOwn:
		return column.Describe(body, n)
	case len(body) == 0:
		return "damaged"
	}
	if body[0]&nearDecimals != 0 {
		text += ", near"
	}
	return fmt.Sprintf("%s, %d decimals, %s", text, body[0]&^nearDecimals, column.DescribeInts(body[1:], n))
}

// forms lists how a column is packed in how many segments, most first.
func (u *columnUse) forms() string {
	const most = 6
	names := slices.SortedFunc(maps.Keys(u.packed), func(a, b string) int {
		return cmp.Or(u.packed[b]-u.packed[a], cmp.Compare(a, b))
	})
	text, others := "", 0
	for k, name := range names {
		switch {
		case k >= most:
			others += u.packed[name]
			continue
		case k > 0:
			text += "; "
		}
		text += fmt.Sprintf("%s (%d)", name, u.packed[name])
	}
	if others > 0 {
		text += fmt.Sprintf("; others (%d)", others)
	}
	return text
}

// line is a line of the table of metrics.
func (i *inspection) line(name string, first, last, windows, length int64) string {
	g := i.file.footer.granularity
	return fmt.Sprintf("%s\t%d\t%d\t%.3f\t%s\t%s\t", name, windows, length, perWindow(length, windows), timeText(first*g), timeText(last*g))
}

func perWindow(bytes, windows int64) float64 { return float64(bytes) / float64(max(windows, 1)) }

func (i *inspection) write(w io.Writer) {
	s := i.file.Summary()
	fmt.Fprintf(w, "block file, version %d: windows of %v; metrics: %d; windows: %d; bytes: %d\n", version, time.Duration(s.Granularity), s.Metrics, s.Windows, s.Bytes)
	if s.Metrics > 0 {
		fmt.Fprintf(w, "first and last window: %s, %s\n", timeText(s.First), timeText(s.Last))
	}
	for _, d := range i.file.damage {
		fmt.Fprintf(w, "damage: %v\n", d)
	}
	for _, d := range i.damage {
		fmt.Fprintf(w, "damage: %v\n", d)
	}
	fmt.Fprintf(w, "\ncolumn\tbytes\tB/window\t  packed as (segments)\n")
	for _, c := range slices.Sorted(maps.Keys(i.columns)) {
		use := i.columns[c]
		fmt.Fprintf(w, "%v\t%d\t%.3f\t", c, use.bytes, perWindow(use.bytes, use.windows))
		fmt.Fprintln(w, "  "+use.forms())
	}
	rest := i.bytes - i.body
	fmt.Fprintf(w, "heads, starts, checksums\t%d\t%.3f\t\n", rest, perWindow(rest, i.windows))
	fmt.Fprintf(w, "\nmetric\twindows\tbytes\tB/window\tfirst window\tlast window\t\n")
	for _, line := range i.lines {
		fmt.Fprintln(w, line)
	}
}
