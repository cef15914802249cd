package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/nephoscope/nepho/aggregator/index"
)

func (s *Server) typeRoutes() {
	x := s.o.Index
	named[index.ResourceType]{
		path: "resource_type", view: func(t index.ResourceType) any { return viewType(t) },
		all: x.Types, one: x.Type, create: s.createType, change: s.changeType, remove: s.deleteType,
	}.routes(s)
}

// generic is the type of which every resource is.
const generic = "generic"

type typeView struct {
	Name       string         `json:"name"`
	State      string         `json:"state"` // Gnocchi changes types in steps; here they are always active
	Attributes map[string]any `json:"attributes"`
}

// attributeView has all options of an attribute's type.
type attributeView struct {
	Type     index.AttributeType `json:"type"`
	Required bool                `json:"required"`
}

type stringView struct {
	attributeView
	MinLength int `json:"min_length"`
	MaxLength int `json:"max_length"`
}

type numberView struct {
	attributeView
	Min *float64 `json:"min"`
	Max *float64 `json:"max"`
}

func viewType(t index.ResourceType) typeView {
	v := typeView{t.Name, "active", map[string]any{}}
	for name, a := range t.Attributes {
		base := attributeView{a.Type, a.Required}
		switch a.Type {
		case index.String:
			v.Attributes[name] = stringView{base, a.MinLength, a.MaxLength}
		case index.Number:
			v.Attributes[name] = numberView{base, a.Min, a.Max}
		default:
			v.Attributes[name] = base
		}
	}
	return v
}

func (s *Server) createType(ctx context.Context, in input) (index.ResourceType, string, error) {
	body := in.object("name", "attributes")
	t := index.ResourceType{Name: body.need("name").text(1, maxName), Attributes: map[string]index.Attribute{}}
	if v := body.get("attributes"); v.given() {
		attributes := v.object()
		for _, name := range attributes.names() {
			t.Attributes[name] = readAttribute(attributes.get(name).object("type", "required", "min_length", "max_length", "min", "max"))
		}
	}
	if err := in.err(); err != nil {
		return t, "", err
	}
	for _, a := range t.Attributes {
		if err := checkLimits(a); err != nil {
			return t, "", err
		}
	}
	return t, t.Name, invalidType(s.o.Index.CreateType(ctx, t))
}

func (s *Server) deleteType(ctx context.Context, name string) error {
	if name == generic {
		return &index.InUseError{Kind: index.KindResourceType, Name: name}
	}
	return s.o.Index.DeleteType(ctx, name)
}

// maxLength is the longest string that an attribute may allow.
const maxLength = 255

// readAttribute reads an attribute of a type.
func readAttribute(o members) index.Attribute {
	a := index.Attribute{Required: true}
	typ := o.need("type")
	if typ.skip() {
		return a
	}
	text, _ := typ.scalar()
	options := []string{"type", "required", "options"}
	switch a.Type = index.AttributeType(text); a.Type {
	case index.String:
		options = append(options, "min_length", "max_length")
		a.MaxLength = maxLength
	case index.Number:
		options = append(options, "min", "max")
	case index.UUID, index.Bool, index.Datetime:
	default:
		typ.invalid("must be string, uuid, number, bool or datetime")
		return a
	}
	o.only(options)
	if v := o.get("required"); v.given() {
		a.Required = v.boolean()
	}
	lengths := map[string]*int{"min_length": &a.MinLength, "max_length": &a.MaxLength}
	for _, name := range []string{"min_length", "max_length"} {
		if v := o.get(name); v.given() {
			if *lengths[name] = int(v.integer(0)); *lengths[name] > maxLength {
				v.fault(fmt.Sprintf("value must be at most %d", maxLength))
			}
		}
	}
	if v := o.get("min"); v.given() {
		a.Min = v.number()
	}
	if v := o.get("max"); v.given() {
		a.Max = v.number()
	}
	return a
}

// checkLimits refuses limits that nothing fits.
func checkLimits(a index.Attribute) error {
	const crossed = "Invalid input: Resource attribute value min (or min_length) %v must be less than or equal to max (or max_length) %v!"
	if a.Type == index.String && a.MinLength > a.MaxLength {
		return badRequest(fmt.Sprintf(crossed, a.MinLength, a.MaxLength))
	}
	if a.Min != nil && a.Max != nil && *a.Min > *a.Max {
		return badRequest(fmt.Sprintf(crossed, *a.Min, *a.Max))
	}
	return nil
}

// invalidType is the answer when the index refuses a type: Gnocchi says what is
// wrong after these words.
func invalidType(err error) error {
	var invalid *index.InvalidError
	if errors.As(err, &invalid) {
		return badRequest("Invalid input: " + invalid.Reason)
	}
	return err
}

// mediaPatch is the content type of changes of a resource type: RFC 6902.
const mediaPatch = "application/json-patch+json"

// typeChange is what a JSON patch does to the attributes of a type.
type typeChange struct {
	add    map[string]index.Attribute
	fill   map[string]any
	remove []string
}

func (s *Server) changeType(w http.ResponseWriter, r *http.Request, t index.ResourceType) (index.ResourceType, error) {
	data, err := s.body(w, r, nil, mediaPatch)
	if err != nil {
		return t, err
	}
	if err := checkValues(data); err != nil {
		return t, err
	}
	in, err := newInput(data)
	if err != nil {
		return t, err
	}
	c, err := readTypeChange(t, in)
	if err != nil || len(c.add)+len(c.remove) == 0 {
		return t, err
	}
	if t.Name == generic {
		return t, badRequest("Resource type generic can't be changed, for every resource is of it")
	}
	t, err = s.o.Index.ChangeType(r.Context(), t.Name, c.add, c.fill, c.remove)
	return t, invalidType(err)
}

// readTypeChange reads a JSON patch of a type, which may only add and remove single
// attributes. It keeps what differs from the type in the end.
func readTypeChange(t index.ResourceType, in input) (typeChange, error) {
	c := typeChange{add: map[string]index.Attribute{}, fill: map[string]any{}}
	gone := map[string]bool{}
	for _, item := range in.list(0) {
		o := item.object("op", "path", "value")
		op := o.need("op")
		verb, _ := op.scalar()
		if verb != "add" && verb != "remove" {
			op.invalid("must be add or remove")
		}
		path := o.get("path")
		text, _ := path.scalar()
		name, ok := strings.CutPrefix(text, "/attributes/")
		if path.given() && (!ok || name == "" || strings.Contains(name, "/")) {
			path.invalid("must be /attributes/NAME")
		}
		if err := in.err(); err != nil {
			return c, err
		}
		if !path.given() {
			return c, badRequest("Operation must have a 'path' member")
		}
		name = strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		_, old := t.Attributes[name]
		_, added := c.add[name]
		exists := added || old && !gone[name]
		if verb == "remove" {
			if !exists {
				return c, badRequest(fmt.Sprintf("can't remove a non-existent object '%s'", name))
			}
			delete(c.add, name)
			delete(c.fill, name)
			if old {
				gone[name] = true
			}
			continue
		}
		a, fill, err := readAdded(name, o.get("value"))
		if err != nil {
			return c, err
		}
		if !exists {
			c.add[name] = a
			if fill != nil {
				c.fill[name] = fill
			}
		}
	}
	for name := range gone {
		c.remove = append(c.remove, name)
	}
	return c, in.err()
}

// readAdded reads an attribute that a patch adds, and the value for resources that
// exist, nil for none.
func readAdded(name string, in input) (index.Attribute, any, error) {
	var a index.Attribute
	if !in.given() {
		return a, nil, badRequest("The operation does not contain a 'value' member")
	}
	// Gnocchi tells where in the changed type the fault is, not where in the patch.
	in.path, in.place = []string{"attributes", name}, "data['attributes']['"+name+"']"
	o := in.object("type", "required", "min_length", "max_length", "min", "max", "options")
	a = readAttribute(o)
	var fill input
	if options := o.get("options"); options.given() {
		fill = options.object("fill").get("fill")
	}
	if err := in.err(); err != nil {
		var e *Error
		if cause, ok := (Cause{}), errors.As(err, &e); ok {
			if cause, ok = e.Description.(Cause); ok {
				return a, nil, badRequest(fmt.Sprintf("Invalid input: %v", cause.Reason))
			}
		}
		return a, nil, err
	}
	if err := checkLimits(a); err != nil {
		return a, nil, err
	}
	const refused = "Invalid input: Option 'fill' of resource attribute %s is invalid: %v"
	if !fill.given() || fill.null() {
		if a.Required {
			return a, nil, badRequest(fmt.Sprintf(refused, name, "must not be empty if required=True"))
		}
		return a, nil, nil
	}
	value, err := a.Parse(fill.raw)
	if err != nil {
		return a, nil, badRequest(fmt.Sprintf(refused, name, err))
	}
	return a, value, nil
}
