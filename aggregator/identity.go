package aggregator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/nephoscope/nepho/aggregator/engine"
	"github.com/nephoscope/nepho/sdk/config"
)

// The engine drops metrics of which the index says that they are gone. With an index that
// was lost, emptied or exchanged that would be all of them. So a store of measures has
// an id in its manifest, the index notes the ids of the stores that it describes, and a
// start refuses what does not belong together. A new store gets its id first, then
// the index notes it, then the engine opens the store: until that the store
// counts as new, so that a start which ended in between is made again.

// bind sees to it that the index is that of the store, before the engine opens it.
func (s *store) bind(ctx context.Context) error {
	found, err := engine.Identify(ctx, s.objects)
	if err != nil {
		return err
	}
	described, err := s.index.Stores(ctx)
	if err != nil {
		return err
	}
	const remedy = "; or run nepho aggregator adopt (see nepho help aggregator adopt) "
	switch {
	case found.ID != "" && slices.Contains(described, found.ID):
		return nil
	case !found.Used && (len(described) == 0 || s.sharedIndex()):
		id, err := engine.Name(ctx, s.objects)
		if err != nil {
			return err
		}
		s.log.Info("a new store of measures begins", "store", id, "in", s.objects.String())
		return s.index.AddStore(ctx, id)
	case !found.Used:
		return fmt.Errorf("there are no measures in %s, but the index %s describes those of store %s: bring that store back, or mount it"+
			remedy+"to begin with a new store, in which the metrics of the index have no measures", s.objects, s.indexName(), described[0])
	case len(described) == 0:
		return fmt.Errorf("%s has the measures of store %s, but the index %s is new or was emptied, so that all metrics would be taken for deleted: restore the index from a backup"+
			remedy+"to give up all measures that it does not describe", s.objects, named(found.ID), s.indexName())
	}
	return fmt.Errorf("%s has the measures of store %s, but the index %s describes store %s, so that all metrics would be taken for deleted: set path and index to what belongs together"+
		remedy+"to give up all measures that it does not describe", s.objects, named(found.ID), s.indexName(), strings.Join(described, " and store "))
}

// named is the id of a store, for people.
func named(id string) string {
	if id == "" {
		return "without an id"
	}
	return id
}

// indexName says where the index is, without a password.
func (s *store) indexName() string {
	if s.sharedIndex() {
		return "in PostgreSQL"
	}
	return s.indexPath()
}

// Adopt has the index of an instance with the given options describe its store of
// measures from now on, whatever each belonged to before. path is the instance's folder
// if its options name none.
func Adopt(ctx context.Context, w io.Writer, path string, options *config.Table) (err error) {
	s := &store{}
	if problems := options.Decode(s); len(problems) > 0 {
		return config.Join(problems)
	}
	s.log = slog.New(slog.DiscardHandler)
	if s.Path == "" {
		s.Path = path
	}
	if err := s.openIndex(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.index.Close()) }()
	id, err := engine.Name(ctx, s.objects)
	if err != nil {
		return err
	}
	if err := s.index.AddStore(ctx, id); err != nil {
		return err
	}
	fmt.Fprintf(w, "the index %s describes store %s in %s\n", s.indexName(), id, s.objects)
	return nil
}
