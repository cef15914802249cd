package index

import (
	"context"
	"strings"
	"sync"
	"unicode/utf8"
)

// creators are the numbers of those who made things, which never change.
type creators struct {
	mu  sync.Mutex
	ids map[string]int64
}

// maxCreators is the most creators whose numbers are kept in memory.
const maxCreators = 1 << 14

// creator is the number of a creator as an argument, nil for none. It is not to be
// called within a transaction, since it has one of its own.
func (x *Index) creator(ctx context.Context, name string) (any, error) {
	if name == "" {
		return nil, nil
	}
	if err := checkText("creator", name); err != nil {
		return nil, err
	}
	x.creators.mu.Lock()
	id, ok := x.creators.ids[name]
	x.creators.mu.Unlock()
	if ok {
		return id, nil
	}
	user, project, _ := strings.Cut(name, ":")
	err := x.update(ctx, func(u *update) error {
		_, err := u.Exec(ctx, "INSERT INTO creator (name, user_id, project_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", name, user, project)
		if err == nil {
			_, err = u.One(ctx, "SELECT id FROM creator WHERE name = ?", []any{name}, &id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	x.creators.mu.Lock()
	defer x.creators.mu.Unlock()
	if x.creators.ids == nil || len(x.creators.ids) >= maxCreators {
		x.creators.ids = map[string]int64{}
	}
	x.creators.ids[name] = id
	return id, nil
}

// checkText refuses texts that PostgreSQL can't hold.
func checkText(what, text string) error {
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return &InvalidError{what + " is no text in UTF-8, or has a character of code 0"}
	}
	return nil
}
