package definitions

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/sdk"
)

// shelf is an index in memory.
type shelf struct {
	policies map[string]*policy.Policy
	types    map[string]index.ResourceType
	// late appear between the question whether they are there and their creation, as
	// if another node made them.
	late  map[string]bool
	calls int // that changed something
}

func (s *shelf) Policy(_ context.Context, name string) (*policy.Policy, error) {
	if p := s.policies[name]; p != nil && !s.late[name] {
		return p, nil
	}
	return nil, &index.NotFoundError{Kind: index.KindPolicy, Name: name}
}

func (s *shelf) CreatePolicy(_ context.Context, p *policy.Policy) error {
	s.calls++
	if s.policies[p.Name] != nil {
		delete(s.late, p.Name)
		return &index.ExistsError{Kind: index.KindPolicy, Name: p.Name}
	}
	s.policies[p.Name] = p
	return nil
}

func (s *shelf) Type(_ context.Context, name string) (index.ResourceType, error) {
	if t, ok := s.types[name]; ok && !s.late[name] {
		return t, nil
	}
	return index.ResourceType{}, &index.NotFoundError{Kind: index.KindResourceType, Name: name}
}

func (s *shelf) CreateType(_ context.Context, t index.ResourceType) error {
	s.calls++
	if _, ok := s.types[t.Name]; ok {
		delete(s.late, t.Name)
		return &index.ExistsError{Kind: index.KindResourceType, Name: t.Name}
	}
	s.types[t.Name] = t
	return nil
}

func (s *shelf) ChangeType(_ context.Context, name string, add map[string]index.Attribute, _ map[string]any, _ []string) (index.ResourceType, error) {
	s.calls++
	t := s.types[name]
	t.Attributes = maps.Clone(t.Attributes)
	maps.Copy(t.Attributes, add)
	s.types[name] = t
	return t, nil
}

func TestApply(t *testing.T) {
	x := &shelf{policies: map[string]*policy.Policy{}, types: map[string]index.ResourceType{}, late: map[string]bool{}}
	apply := func(d *Definitions) (*Definitions, string) {
		t.Helper()
		var log bytes.Buffer
		applied, err := d.Apply(t.Context(), x, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		return applied, log.String()
	}
	d := mustLoad(t, Shipped)
	if _, log := apply(d); log != "" || len(x.policies) != 3 || len(x.types) != len(d.Types) {
		t.Errorf("%d policies, %d types, log %s", len(x.policies), len(x.types), log)
	}
	x.calls = 0
	if _, log := apply(d); log != "" || x.calls != 0 {
		t.Errorf("applying the same again changes something %d times, log %s", x.calls, log)
	}

	// What others made or changed stays, and is used as it is.
	x.policies["nepho-delta"] = &policy.Policy{Name: "nepho-delta", Methods: policy.SetOf(policy.Mean)}
	x.types["image"] = index.ResourceType{Name: "image", Attributes: map[string]index.Attribute{"name": {Type: index.Number, Required: true}}}
	applied, log := apply(d)
	for _, want := range []string{"policy=nepho-delta", "resource_type=image attribute=name type=number defined=string", `msg="attributes were added to a resource type" resource_type=image attributes=2`} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	if len(x.types["image"].Attributes) != 3 || strings.Count(log, "\n") != 3 {
		t.Errorf("image has %v, log\n%s", x.types["image"].Attributes, log)
	}
	image, _ := applied.TypeOf("image.size")
	if got := image.Describe(&sdk.Resource{Metadata: sdk.Metadata{"name": "7"}}, nil); got["name"] != 7.0 {
		t.Errorf("described as %v", got)
	}
	if before, _ := d.TypeOf("image.size"); before == image {
		t.Error("the definitions themselves were changed")
	}

	// Another node makes the same at the same time.
	x.late = map[string]bool{"nepho-gauge": true, "volume": true}
	if _, log := apply(d); strings.Contains(log, "nepho-gauge") || strings.Contains(log, "volume") {
		t.Errorf("log %s", log)
	}
}

// broken is an index that cannot be written.
type broken struct{ shelf }

func (*broken) CreatePolicy(context.Context, *policy.Policy) error { return errors.New("disk full") }

func TestApplyFails(t *testing.T) {
	_, err := mustLoad(t, Shipped).Apply(t.Context(), &broken{}, slog.New(slog.DiscardHandler))
	if err == nil || err.Error() != `cannot make the archive policy "nepho-gauge": disk full` {
		t.Error(err)
	}
}
