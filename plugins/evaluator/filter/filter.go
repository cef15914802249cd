// Package filter reads what users search alarms and their history by: Aodh's complex
// queries, and the conditions of its simple ones. It knows fields and operators;
// what is in the database is not its business.
package filter

import (
	"fmt"
	"time"
)

// Expr is a condition: one of [Compare], [In], [And], [Or] and [Not].
type Expr interface{ expr() }

// Compare compares a field with a value: a string, bool, float64 or [time.Time].
type Compare struct {
	Field, Op string // Op is =, !=, <, <=, >, >= or =~, a regular expression
	Value     any
}

// In is that a field has one of the values.
type In struct {
	Field  string
	Values []any
}

// And holds if all of its conditions do, Or if one does.
type (
	And []Expr
	Or  []Expr
)

// Not holds if its condition does not.
type Not struct{ Expr Expr }

func (Compare) expr() {}
func (In) expr()      {}
func (And) expr()     {}
func (Or) expr()      {}
func (Not) expr()     {}

// Order is a field that rows are sorted by.
type Order struct {
	Field      string
	Descending bool
}

// Kind is what values a field has.
type Kind uint8

// Kinds of fields.
const (
	Text Kind = iota
	Bool
	Time
)

// Fields are the fields that may be named, and their kinds.
type Fields map[string]Kind

// Alarms are the fields of alarms.
var Alarms = Fields{
	"alarm_id": Text, "name": Text, "description": Text, "type": Text, "enabled": Bool, "state": Text, "state_reason": Text,
	"state_timestamp": Time, "timestamp": Time, "evaluate_timestamp": Time, "severity": Text, "repeat_actions": Bool,
	"project_id": Text, "user_id": Text,
}

// Changes are the fields of an alarm's history.
var Changes = Fields{
	"event_id": Text, "alarm_id": Text, "type": Text, "detail": Text, "user_id": Text, "project_id": Text, "on_behalf_of": Text,
	"timestamp": Time, "severity": Text,
}

// short are other names of fields.
var short = map[string]string{"user": "user_id", "project": "project_id"}

// Error says what is wrong with a query.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func wrong(format string, args ...any) *Error { return &Error{Message: fmt.Sprintf(format, args...)} }

// ParseTime reads a time as OpenStack's clients write them: ISO 8601, with or without
// an offset; without one it is UTC.
func ParseTime(s string) (time.Time, error) {
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999Z0700",
		"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, wrong("Failed to parse the timestamp value %s", shorten(s))
}
