package index

import (
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// sortKey is a [SortKey] with its column.
type sortKey struct {
	column
	desc, nullsFirst bool
}

// sortKeys resolves the order of a page. The unique keys are added, so that each
// thing has its place. The error is a [*PageError].
func (p Page) sortKeys(find func(name string) (column, bool), usual []SortKey, unique ...string) ([]sortKey, error) {
	order := p.Sort
	if len(order) == 0 {
		order = usual
	}
	order = slices.Clone(order)
	for _, name := range unique {
		if !slices.ContainsFunc(order, func(k SortKey) bool { return k.Name == name }) {
			order = append(order, SortKey{Name: name})
		}
	}
	keys := make([]sortKey, len(order))
	for i, k := range order {
		c, ok := find(k.Name)
		if !ok || c.unsortable {
			return nil, &PageError{"Sort key supplied is invalid: " + k.Name}
		}
		switch k.Nulls {
		case "", "first", "last":
		default:
			return nil, &PageError{"Sort direction supplied is invalid: nulls " + k.Nulls}
		}
		keys[i] = sortKey{c, k.Desc, k.Nulls == "first" || k.Nulls == "" && k.Desc}
	}
	return keys, nil
}

// sorted are the columns of the keys, named s0 and so on, with commas between.
func sorted(keys []sortKey) string {
	columns := make([]string, len(keys))
	for i, k := range keys {
		columns[i] = k.expr + " AS s" + strconv.Itoa(i)
	}
	return strings.Join(columns, ", ")
}

// orderBy is the order by the keys, or if named by the columns that sorted names.
func orderBy(keys []sortKey, named bool) string {
	terms := make([]string, len(keys))
	for i, k := range keys {
		if terms[i] = k.expr; named {
			terms[i] = "s" + strconv.Itoa(i)
		}
		if k.desc {
			terms[i] += " DESC"
		}
		if k.nullable {
			terms[i] += map[bool]string{true: " NULLS FIRST", false: " NULLS LAST"}[k.nullsFirst]
		}
	}
	return " ORDER BY " + strings.Join(terms, ", ")
}

// after adds the condition that a row comes after the one that has these values of
// the keys.
func (s *statement) after(keys []sortKey, values []any) {
	simple := true
	for i, k := range keys {
		simple = simple && !k.nullable && k.desc == keys[0].desc && values[i] != nil
	}
	if simple {
		// This form databases find in an index.
		exprs := make([]string, len(keys))
		for i, k := range keys {
			exprs[i] = k.expr
		}
		sign := map[bool]string{true: " < ", false: " > "}[keys[0].desc]
		s.add("("+strings.Join(exprs, ", ")+")"+sign+places("?", len(keys)), values...)
		return
	}
	if !keys[0].nullable && values[0] != nil { // so does this, somewhat
		s.add(keys[0].expr+map[bool]string{true: " <= ?", false: " >= ?"}[keys[0].desc]+" AND ", values[0])
	}
	s.add("(")
	for i, k := range keys {
		if i > 0 {
			s.add(" OR ")
		}
		s.add("(")
		for j, before := range keys[:i] {
			if values[j] == nil {
				s.add(before.expr + " IS NULL AND ")
			} else {
				s.add(before.expr+" = ? AND ", values[j])
			}
		}
		s.beyond(k, values[i])
		s.add(")")
	}
	s.add(")")
}

// beyond adds the condition that a key comes after a value.
func (s *statement) beyond(k sortKey, v any) {
	switch {
	case v == nil && k.nullsFirst:
		s.add(k.expr + " IS NOT NULL")
	case v == nil:
		s.add("1 = 0")
	default:
		sign := map[bool]string{true: " < ?", false: " > ?"}[k.desc]
		if k.nullable && !k.nullsFirst {
			s.add("("+k.expr+sign+" OR "+k.expr+" IS NULL)", v)
		} else {
			s.add(k.expr+sign, v)
		}
	}
}

func errMarker(marker string) error { return &PageError{"Invalid marker: `" + marker + "'"} }

// marker is the id in a marker, and with history its revision.
func (p Page) marker(history bool) (id uuid.UUID, revision int64, err error) {
	text := p.Marker
	if history {
		before, after, ok := strings.Cut(text, "@")
		if revision, err = strconv.ParseInt(after, 10, 64); err != nil || !ok {
			return id, 0, errMarker(p.Marker)
		}
		text = before
	}
	if id, err = uuid.Parse(text); err != nil {
		return id, 0, errMarker(p.Marker)
	}
	return id, revision, nil
}
