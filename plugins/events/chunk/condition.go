package chunk

import (
	"cmp"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// Op is how a condition compares.
type Op uint8

// The ways to compare. Texts are compared by their bytes.
const (
	Equal Op = iota
	NotEqual
	Less
	AtMost
	Greater
	AtLeast
)

// holds reports whether a comparison that gave c, below, at or above 0, meets it.
func (o Op) holds(c int) bool {
	switch o {
	case Equal:
		return c == 0
	case NotEqual:
		return c != 0
	case Less:
		return c < 0
	case AtMost:
		return c <= 0
	case Greater:
		return c > 0
	}
	return c >= 0
}

// Condition is met by events that have a trait of a name and a type whose value
// compares so with the condition's. An event without the trait does not meet it, not
// even NotEqual.
type Condition struct {
	Trait string
	Type  sdk.TraitType
	Op    Op
	// The value, in the field of the type.
	Text    string
	Integer int64
	Float   float64
	Time    time.Time
}

// Meets reports whether a trait meets the condition.
func (c *Condition) Meets(t *sdk.Trait) bool {
	if t.Name != c.Trait || t.Type != c.Type {
		return false
	}
	switch v := t.Value.(type) {
	case string:
		return c.Op.holds(cmp.Compare(v, c.Text))
	case int64:
		return c.Op.holds(cmp.Compare(v, c.Integer))
	case float64:
		return c.meetsReal(v)
	case time.Time:
		return c.Op.holds(v.Compare(c.Time))
	}
	return false
}

// meetsReal has no order for what is no number, and nothing equals that.
func (c *Condition) meetsReal(v float64) bool {
	switch c.Op {
	case Equal:
		return v == c.Float
	case NotEqual:
		return v != c.Float
	case Less:
		return v < c.Float
	case AtMost:
		return v <= c.Float
	case Greater:
		return v > c.Float
	}
	return v >= c.Float
}

// Query says which events of a chunk are looked for: those that meet all of it.
type Query struct {
	// From and To are the times, in nanoseconds, both inclusive.
	From, To int64
	// Type and ID are the event type and the message id, if not nil.
	Type, ID *string
	// Where are conditions on traits.
	Where []Condition
	// Project, if not nil, lets those through whose text trait project_id is so, and
	// those without one.
	Project *string
}

// ProjectTrait is the trait with an event's project, UserTrait that with its user.
const (
	ProjectTrait = "project_id"
	UserTrait    = "user_id"
)

// Meets reports whether an event is looked for.
func (q *Query) Meets(e *sdk.Event) bool {
	at := e.Generated.UnixNano()
	if at < q.From || at > q.To || q.Type != nil && *q.Type != e.EventType || q.ID != nil && *q.ID != e.MessageID {
		return false
	}
	for i := range q.Where {
		met := false
		for t := range e.Traits {
			met = met || q.Where[i].Meets(&e.Traits[t])
		}
		if !met {
			return false
		}
	}
	if q.Project == nil {
		return true
	}
	none, own := true, false
	for _, t := range e.Traits {
		if t.Name == ProjectTrait && t.Type == sdk.Text {
			none = false
			own = own || t.Value == *q.Project
		}
	}
	return none || own
}
