package host

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/nephoscope/nepho/agent/supervisor"
	"github.com/nephoscope/nepho/sdk/figure"
)

// Figures are what an instance tells about itself.
type Figures struct {
	Instance string          `json:"instance"` // of a transformer: pipeline/name
	Plugin   string          `json:"plugin"`   // kind/name
	Figures  []figure.Figure `json:"figures,omitempty"`
	Error    string          `json:"error,omitempty"` // why there are none, or not all
}

// Figures asks the instances that are started for figures about themselves, all at once,
// and for [figure.Timeout] at most: who is late tells none this time. Nobody is asked
// unless somebody calls; those who call at the same time share the answers, which must
// not be changed. When ctx ends before, there are none.
func (h *Host) Figures(ctx context.Context) []Figures {
	answer := h.asking.DoChan("", func() (any, error) { return h.measure(), nil })
	select {
	case a := <-answer:
		return a.Val.([]Figures)
	case <-ctx.Done():
		return nil
	}
}

// measure asks all instances.
func (h *Host) measure() []Figures {
	type question struct {
		life *supervisor.Life
		Figures
		tells bool
	}
	var list []*question
	h.mu.Lock()
	for _, name := range names(h.instances) {
		q := &question{life: h.instances[name].Current(), Figures: Figures{Instance: name}}
		if c := h.configured(name); c != nil && q.life != nil {
			q.Plugin = c.Kind + "/" + c.Plugin
			list = append(list, q)
		}
	}
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), figure.Timeout)
	defer cancel()
	var wait sync.WaitGroup
	for _, q := range list {
		wait.Go(func() {
			var err error
			q.Figures.Figures, q.tells, err = q.life.Figures(ctx, q.Instance)
			switch {
			case err == nil:
			case status.Code(err) == codes.DeadlineExceeded:
				q.Error = fmt.Sprintf("no answer within %v", figure.Timeout)
			case status.Code(err) == codes.Unavailable && !q.tells:
				// It ends just now, and perhaps has nothing to tell.
			default:
				q.Error = reason(strings.ReplaceAll(status.Convert(err).Message(), "\n", "; ")).Error()
			}
		})
	}
	wait.Wait()
	told := []Figures{}
	for _, q := range list {
		if q.tells || q.Error != "" {
			told = append(told, q.Figures)
		}
	}
	return told
}
