package config

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

const (
	maxText  = 16 << 20 // bytes of one file
	maxDepth = 64       // of nested tables and lists; recursion over a tree is bounded by it
)

// Parse reads TOML text. file is the name that positions carry; nothing is
// opened. Text that is not TOML gives one problem, at the first error, and the
// table of what precedes it. The table is never nil.
func Parse(file string, text []byte) (*Table, []Problem) {
	root := &Table{Pos: Pos{File: file, Line: 1, Column: 1}}
	if len(text) > maxText {
		return root, []Problem{{Pos: Pos{File: file}, Message: fmt.Sprintf("the file is larger than %d MiB", maxText>>20)}}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))

	// The tree below is built from the syntax nodes, which have positions but are
	// not checked for keys defined twice and the like; the decoder does that.
	var problems []Problem
	var checked map[string]any
	if err := toml.Unmarshal(text, &checked); err != nil {
		pos := Pos{File: file, Line: 1}
		var decode *toml.DecodeError
		if errors.As(err, &decode) {
			pos.Line, pos.Column = decode.Position()
		}
		problems = append(problems, Problem{Pos: pos, Message: "not valid TOML: " + strings.TrimPrefix(err.Error(), "toml: ")})
	}

	b := &builder{file: file, text: text, lines: lineStarts(text), root: root, current: root}
	b.parser.Reset(text)
	for b.parser.NextExpression() {
		if err := b.expression(b.parser.Expression()); err != nil {
			// What the decoder found wrong already is not said twice.
			if len(problems) == 0 {
				problems = append(problems, Problem{Pos: b.last, Message: err.Error()})
			}
			break
		}
	}
	return root, problems
}

// builder makes a tree of values from the parser's syntax nodes.
type builder struct {
	file    string
	text    []byte
	lines   []int // offset of each line's first byte
	parser  unstable.Parser
	root    *Table
	current *Table // of the last header
	depth   int    // of current
	last    Pos    // of the last key, for what has no place of its own
}

func (b *builder) expression(n *unstable.Node) error {
	switch n.Kind {
	case unstable.Table, unstable.ArrayTable:
		return b.header(n)
	case unstable.KeyValue:
		return b.keyValue(b.current, n, b.depth)
	default:
		return nil
	}
}

// header moves to the table that [a.b] or [[a.b]] names, making it if needed.
func (b *builder) header(n *unstable.Node) error {
	t := b.root
	key := n.Key()
	b.depth = 0
	for key.Next() {
		part := key.Node()
		name := string(part.Data)
		b.last = b.position(part)
		b.last.Column = 1 + utf8.RuneCount(b.text[b.lines[b.last.Line-1]:][:b.indent(b.last.Line)])
		if b.depth++; b.depth > maxDepth {
			return fmt.Errorf("tables are nested more than %d deep", maxDepth)
		}
		if key.IsLast() && n.Kind == unstable.ArrayTable {
			list := t.Get(name)
			if list == nil {
				list = &Value{Kind: KindList, Pos: b.last}
				t.Set(name, list)
			}
			if list.Kind != KindList {
				return fmt.Errorf("%s is already a %s", name, list.Kind)
			}
			next := &Table{Pos: b.last, Path: t.KeyPath(name)}
			list.List = append(list.List, NewTableValue(next))
			b.current = next
			return nil
		}
		next, err := b.enter(t, name, b.last)
		if err != nil {
			return err
		}
		if key.IsLast() {
			next.Pos = b.last
			t.Get(name).Pos = b.last
		}
		t = next
	}
	b.current = t
	return nil
}

// indent returns the length of a line's leading white space.
func (b *builder) indent(line int) int {
	rest := b.text[b.lines[line-1]:]
	return len(rest) - len(bytes.TrimLeft(rest, " \t"))
}

// enter returns the table t.name, of an array of tables the last one.
func (b *builder) enter(t *Table, name string, pos Pos) (*Table, error) {
	v := t.Get(name)
	if v == nil {
		next := &Table{Pos: pos, Path: t.KeyPath(name)}
		t.Set(name, NewTableValue(next))
		return next, nil
	}
	if v.Kind == KindList && len(v.List) > 0 {
		v = v.List[len(v.List)-1]
	}
	if v.Kind != KindTable {
		return nil, fmt.Errorf("%s is already a %s", name, v.Kind)
	}
	return v.Table, nil
}

func (b *builder) keyValue(t *Table, n *unstable.Node, depth int) error {
	key := n.Key()
	first := true
	var pos Pos
	for key.Next() {
		name := string(key.Node().Data)
		if first {
			pos = b.position(key.Node())
			first = false
		}
		b.last = pos
		if depth++; depth > maxDepth {
			return fmt.Errorf("values are nested more than %d deep", maxDepth)
		}
		if !key.IsLast() {
			next, err := b.enter(t, name, pos)
			if err != nil {
				return err
			}
			t = next
			continue
		}
		if t.Get(name) != nil {
			return fmt.Errorf("key %s is already defined", name)
		}
		v, err := b.value(n.Value(), pos, t.KeyPath(name), depth)
		if err != nil {
			return err
		}
		t.Set(name, v)
	}
	return nil
}

func (b *builder) value(n *unstable.Node, pos Pos, path string, depth int) (*Value, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("values are nested more than %d deep", maxDepth)
	}
	v := &Value{Pos: pos}
	var err error
	switch n.Kind {
	case unstable.String:
		v.Kind, v.Str = KindString, string(n.Data)
	case unstable.Bool:
		v.Kind, v.Bool = KindBool, n.Data[0] == 't'
	case unstable.Integer:
		// TOML's prefixes and underscores are those of Go; a leading zero, which
		// Go would take for octal, the decoder has refused.
		v.Kind = KindInt
		v.Int, err = strconv.ParseInt(string(n.Data), 0, 64)
	case unstable.Float:
		v.Kind = KindFloat
		v.Float, err = parseFloat(string(n.Data))
	case unstable.DateTime, unstable.LocalDateTime, unstable.LocalDate, unstable.LocalTime:
		v.Kind, v.Str = KindTime, strings.Replace(strings.ToUpper(string(n.Data)), " ", "T", 1)
	case unstable.Array:
		err = b.list(v, n, path, depth)
	case unstable.InlineTable:
		v.Kind, v.Table = KindTable, &Table{Pos: pos, Path: path}
		for it := n.Children(); it.Next() && err == nil; {
			err = b.keyValue(v.Table, it.Node(), depth)
		}
	default:
		err = fmt.Errorf("unexpected %s", n.Kind)
	}
	return v, err
}

func (b *builder) list(v *Value, n *unstable.Node, path string, depth int) error {
	v.Kind = KindList
	for it := n.Children(); it.Next(); {
		pos := v.Pos
		if it.Node().Raw.Length > 0 {
			pos = b.position(it.Node())
		}
		e, err := b.value(it.Node(), pos, indexKey(path, len(v.List)), depth+1)
		if err != nil {
			return err
		}
		v.List = append(v.List, e)
	}
	return nil
}

func indexKey(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// parseFloat reads a TOML float, whose NaN may carry a sign.
func parseFloat(s string) (float64, error) {
	if strings.HasSuffix(s, "nan") {
		return math.NaN(), nil
	}
	return strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
}

// position returns where a node begins.
func (b *builder) position(n *unstable.Node) Pos {
	offset := int(n.Raw.Offset)
	line := sort.SearchInts(b.lines, offset+1)
	return Pos{File: b.file, Line: line, Column: 1 + utf8.RuneCount(b.text[b.lines[line-1]:offset])}
}

func lineStarts(text []byte) []int {
	starts := []int{0}
	for i, c := range text {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}
