package definitions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/nephoscope/nepho/aggregator/index"
	"github.com/nephoscope/nepho/aggregator/policy"
	"github.com/nephoscope/nepho/sdk/glob"
)

var errNoID = errors.New("the event has none of the traits that hold the resource's id")

func matches(g *glob.Globs, name string) bool { return g != nil && g.Match(name) }

// Index is where policies and resource types are kept: an [index.Index].
type Index interface {
	Policy(ctx context.Context, name string) (*policy.Policy, error)
	CreatePolicy(ctx context.Context, p *policy.Policy) error
	Type(ctx context.Context, name string) (index.ResourceType, error)
	CreateType(ctx context.Context, t index.ResourceType) error
	ChangeType(ctx context.Context, name string, add map[string]index.Attribute, fill map[string]any, remove []string) (index.ResourceType, error)
}

// Apply makes the archive policies and resource types that are missing, and adds
// attributes that types lack. What is there and differs stays as it is, and log is
// told: somebody may have changed it on purpose.
//
// The definitions returned describe resources by the types as they are in the index.
func (d *Definitions) Apply(ctx context.Context, x Index, log *slog.Logger) (*Definitions, error) {
	for _, p := range d.Policies {
		if err := applyPolicy(ctx, x, p, log); err != nil {
			return nil, fmt.Errorf("cannot make the archive policy %q: %w", p.Name, err)
		}
	}
	applied := *d
	applied.Types = nil
	now := map[*Type]*Type{}
	for _, t := range d.Types {
		made, err := t.apply(ctx, x, log)
		if err != nil {
			return nil, fmt.Errorf("cannot make the resource type %q: %w", t.Name, err)
		}
		applied.Types = append(applied.Types, made)
		now[t] = made
	}
	applied.names = make(map[string]*Type, len(d.names))
	for name, t := range d.names {
		applied.names[name] = now[t]
	}
	applied.globs = slices.Clone(d.globs)
	for i := range applied.globs {
		applied.globs[i].t = now[applied.globs[i].t]
	}
	return &applied, nil
}

// exists reports whether there is such a thing already: another node may make the
// same at the same time.
func exists(err error) bool { return errors.As(err, new(*index.ExistsError)) }

// missing reports whether there is no such thing.
func missing(err error) bool { return errors.As(err, new(*index.NotFoundError)) }

func applyPolicy(ctx context.Context, x Index, p *policy.Policy, log *slog.Logger) error {
	is, err := x.Policy(ctx, p.Name)
	if missing(err) {
		made := *p
		if err = x.CreatePolicy(ctx, &made); !exists(err) {
			return err
		}
		is, err = x.Policy(ctx, p.Name)
	}
	if err != nil {
		return err
	}
	if !slices.Equal(is.Definitions, p.Definitions) || is.Methods != p.Methods || is.BackWindow != p.BackWindow {
		log.Warn("an archive policy is not as the definitions have it, and stays so; change it through the API, or rename that of the definitions", "policy", p.Name)
	}
	return nil
}

func (t *Type) apply(ctx context.Context, x Index, log *slog.Logger) (*Type, error) {
	if t.Name == Generic {
		return t, nil
	}
	is, err := x.Type(ctx, t.Name)
	if missing(err) {
		made := index.ResourceType{Name: t.Name, Attributes: map[string]index.Attribute{}}
		for _, a := range t.Attributes {
			made.Attributes[a.Name] = a.Attribute
		}
		if err = x.CreateType(ctx, made); err == nil {
			return t, nil
		}
		if exists(err) {
			is, err = x.Type(ctx, t.Name)
		}
	}
	if err != nil {
		return nil, err
	}
	lacks := map[string]index.Attribute{}
	applied := *t
	applied.Attributes = slices.Clone(t.Attributes)
	for i, a := range t.Attributes {
		there, ok := is.Attributes[a.Name]
		if !ok {
			lacks[a.Name] = a.Attribute
			continue
		}
		if there.Type != a.Type {
			log.Warn("an attribute has another type than the definitions say, and keeps it", "resource_type", t.Name, "attribute", a.Name, "type", string(there.Type), "defined", string(a.Type))
		}
		applied.Attributes[i].Attribute = there
	}
	if len(lacks) > 0 {
		if _, err := x.ChangeType(ctx, t.Name, lacks, nil, nil); err != nil {
			return nil, err
		}
		log.Info("attributes were added to a resource type", "resource_type", t.Name, "attributes", len(lacks))
	}
	return &applied, nil
}
