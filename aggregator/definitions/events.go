package definitions

import (
	"fmt"
	"slices"
	"time"

	"github.com/nephoscope/nepho/sdk"
)

// ActionKind is what an event does to a resource.
type ActionKind uint8

// The kinds of actions.
const (
	Create ActionKind = iota
	Update
	End
)

// Action is what an event does to a resource.
type Action struct {
	Kind ActionKind
	Type *Type
	// Resource is its id; never empty.
	Resource      string
	Project, User string // of Create and Update, "" where the event does not tell
	Time          time.Time
	Attributes    map[string]any // as the index takes them
	// Ends are attributes by the type of those resources that end with this one: the
	// attribute holds its id.
	Ends map[string]string
}

// ActsOn reports whether events of a type do anything to resources.
func (d *Definitions) ActsOn(eventType string) bool {
	return slices.ContainsFunc(d.Types, func(t *Type) bool {
		return matches(t.delete, eventType) || matches(t.create, eventType) || matches(t.update, eventType)
	})
}

// Actions are what an event does to resources. wrong hears of values that do not fit
// their attribute, and of ids that the event should have and has not.
func (d *Definitions) Actions(e *sdk.Event, wrong func(what string, err error)) []Action {
	var actions []Action
	for _, t := range d.Types {
		a := Action{Type: t, Time: e.Generated}
		switch {
		case matches(t.delete, e.EventType):
			a.Kind, a.Ends = End, t.events.Ends
		case matches(t.create, e.EventType):
			a.Kind = Create
		case matches(t.update, e.EventType):
			a.Kind = Update
		default:
			continue
		}
		a.Resource = ResourceID(textTrait(e, t.events.ID...))
		if a.Resource == "" {
			wrong(t.Name, errNoID)
			continue
		}
		a.Project, a.User = textTrait(e, "project_id", "tenant_id"), textTrait(e, "user_id")
		a.Attributes = t.traits(e, wrong)
		actions = append(actions, a)
	}
	return actions
}

// traits gives the attributes that an event's traits tell.
func (t *Type) traits(e *sdk.Event, wrong func(what string, err error)) map[string]any {
	if len(t.events.Attributes) == 0 {
		return nil
	}
	made := map[string]any{}
	for i := range t.Attributes {
		a := &t.Attributes[i]
		if v := trait(e, t.events.Attributes[a.Name]...); v != nil {
			a.set(made, v, wrong)
		}
	}
	return made
}

// trait is the value of the first trait that there is, nil if there is none.
func trait(e *sdk.Event, names ...string) any {
	for _, name := range names {
		for _, t := range e.Traits {
			if t.Name == name && t.Value != nil {
				return t.Value
			}
		}
	}
	return nil
}

func textTrait(e *sdk.Event, names ...string) string {
	switch v := trait(e, names...).(type) {
	case nil, float64, time.Time:
		return "" // such are no ids
	default:
		return fmt.Sprint(v)
	}
}
