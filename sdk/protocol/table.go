package protocol

import (
	"github.com/nephoscope/nepho/sdk/config"
	"github.com/nephoscope/nepho/sdk/wire"
)

// EncodeTable gives the wire form of a table.
func EncodeTable(t *config.Table) *wire.Table {
	if t == nil {
		return nil
	}
	w := &wire.Table{Path: t.Path, File: t.Pos.File, Line: int32(t.Pos.Line), Column: int32(t.Pos.Column)}
	for key, v := range t.All() {
		w.Entries = append(w.Entries, &wire.Entry{Key: key, Value: encodeValue(v)})
	}
	return w
}

func encodeValue(v *config.Value) *wire.Value {
	w := &wire.Value{File: v.Pos.File, Line: int32(v.Pos.Line), Column: int32(v.Pos.Column), Secret: v.Secret, Inserted: v.Inserted}
	switch v.Kind {
	case config.KindString:
		w.Kind = &wire.Value_Text{Text: v.Str}
	case config.KindInt:
		w.Kind = &wire.Value_Integer{Integer: v.Int}
	case config.KindFloat:
		w.Kind = &wire.Value_Float{Float: v.Float}
	case config.KindBool:
		w.Kind = &wire.Value_Boolean{Boolean: v.Bool}
	case config.KindTime:
		w.Kind = &wire.Value_Time{Time: v.Str}
	case config.KindTable:
		w.Kind = &wire.Value_Table{Table: EncodeTable(v.Table)}
	case config.KindList:
		l := new(wire.List)
		for _, e := range v.List {
			l.Values = append(l.Values, encodeValue(e))
		}
		w.Kind = &wire.Value_List{List: l}
	}
	return w
}

// DecodeTable is the inverse of EncodeTable.
func DecodeTable(w *wire.Table) *config.Table {
	t := config.NewTable(w.GetPath())
	t.Pos = config.Pos{File: w.GetFile(), Line: int(w.GetLine()), Column: int(w.GetColumn())}
	for _, e := range w.GetEntries() {
		t.Set(e.GetKey(), decodeValue(e.GetValue()))
	}
	return t
}

func decodeValue(w *wire.Value) *config.Value {
	var v *config.Value
	switch k := w.GetKind().(type) {
	case *wire.Value_Text:
		v = config.NewString(k.Text)
	case *wire.Value_Integer:
		v = config.NewInt(k.Integer)
	case *wire.Value_Float:
		v = config.NewFloat(k.Float)
	case *wire.Value_Boolean:
		v = config.NewBool(k.Boolean)
	case *wire.Value_Time:
		v = &config.Value{Kind: config.KindTime, Str: k.Time}
	case *wire.Value_Table:
		v = config.NewTableValue(DecodeTable(k.Table))
	case *wire.Value_List:
		v = config.NewList()
		for _, e := range k.List.GetValues() {
			v.List = append(v.List, decodeValue(e))
		}
	default:
		v = new(config.Value) // what the host could not expand; its problem is known
	}
	v.Pos = config.Pos{File: w.GetFile(), Line: int(w.GetLine()), Column: int(w.GetColumn())}
	v.Secret, v.Inserted = w.GetSecret(), w.GetInserted()
	return v
}

// EncodeProblems gives the wire form of problems.
func EncodeProblems(ps []config.Problem) []*wire.Problem {
	var ws []*wire.Problem
	for _, p := range ps {
		ws = append(ws, &wire.Problem{
			File: p.Pos.File, Line: int32(p.Pos.Line), Column: int32(p.Pos.Column),
			Key: p.Key, Message: p.Message, Hint: p.Hint,
		})
	}
	return ws
}

// DecodeProblems is the inverse of EncodeProblems.
func DecodeProblems(ws []*wire.Problem) []config.Problem {
	var ps []config.Problem
	for _, w := range ws {
		ps = append(ps, config.Problem{
			Pos: config.Pos{File: w.File, Line: int(w.Line), Column: int(w.Column)},
			Key: w.Key, Message: w.Message, Hint: w.Hint,
		})
	}
	return ps
}
