package index

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nephoscope/nepho/aggregator/database"
	"github.com/nephoscope/nepho/aggregator/search"
)

func TestDeleteRevision(t *testing.T) {
	both(t, func(t *testing.T, x *Index) {
		clock(x)
		ctx := t.Context()
		made := must(x.CreateResource(ctx, &Resource{ID: id(1), Type: Generic}, nil, nil))(t)
		changed := must(x.ChangeResource(ctx, Generic, id(1), Change{User: ptr(ptr("u"))}))(t)
		if err := x.DeleteResource(ctx, Generic, id(1), made.RevisionStart); !errors.Is(err, ErrRevision) {
			t.Errorf("the former revision: %v", err)
		}
		ok(t, x.DeleteResource(ctx, Generic, id(1), changed.RevisionStart))
	})
}

// A resource that is changed after a search found it, and before it is deleted, is
// looked at again.
func TestDeletedIsWhatIsSelected(t *testing.T) {
	t.Parallel()
	x := open(t, where(t, "postgres"))
	ctx := t.Context()
	for n := 1; n <= 3; n++ {
		must(x.CreateResource(ctx, &Resource{ID: id(n), Type: Generic, User: ptr("a")}, nil, nil))(t)
	}
	deleted := make(chan int)
	ok(t, x.update(ctx, func(u *update) error {
		for n, user := range map[int]string{1: "b", 2: "a"} {
			r, err := readResource(ctx, u.Session, Generic, id(n), u.ForUpdate())
			if err != nil {
				return err
			}
			c := Change{User: ptr(ptr(user)), Started: ptr(time.Unix(1, 0))}
			if _, err := x.changeRow(ctx, u, r, &c); err != nil {
				return err
			}
		}
		go func() {
			n, err := x.DeleteResources(ctx, ResourceQuery{Type: Generic, Filter: search.Compare{Operator: search.Equal, Attribute: "user_id", Value: "a"}})
			if err != nil {
				t.Error(err)
			}
			deleted <- n
		}()
		return awaitBlocked(ctx, x)
	}))
	if n := <-deleted; n != 2 {
		t.Errorf("%d are deleted, not 2", n)
	}
	left := must(x.Resources(ctx, ResourceQuery{Type: Generic, Page: Page{Limit: 10}}))(t)
	if len(left) != 1 || left[0].ID != id(1) {
		t.Errorf("left are %+v", left)
	}
}

// awaitBlocked waits until a transaction waits for another one.
func awaitBlocked(ctx context.Context, x *Index) error {
	for blocked := 0; blocked == 0; {
		err := x.read(ctx, func(s *database.Session) error {
			_, err := s.One(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'", nil, &blocked)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
