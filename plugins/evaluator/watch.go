package evaluator

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nephoscope/nepho/plugins/evaluator/action"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
	"github.com/nephoscope/nepho/sdk"
)

// Watch implements sdk.Alarm.
func (e *evaluator) Watch(ctx context.Context, host sdk.Host) error {
	e.host.set(host)
	defer e.host.set(nil)
	e.queue.Retry(action.EventTarget)
	return e.engine.Run(ctx)
}

// Publish implements sdk.Alarm: events are compared with rules about them.
func (e *evaluator) Publish(ctx context.Context, batch *sdk.Batch) error {
	events := make([]sdk.Event, batch.Events())
	for i := range events {
		events[i] = batch.Event(i)
	}
	if err := e.engine.Events(ctx, events); err != nil {
		return err
	}
	e.taken.Add(uint64(len(events)))
	return nil
}

// hostHandle is the host while it lets the plugin watch. It asks the host's storage, and
// gives changes to the pipelines.
type hostHandle struct {
	storage string
	host    atomic.Pointer[sdk.Host]
}

func (h *hostHandle) set(host sdk.Host) {
	if host == nil {
		h.host.Store(nil)
		return
	}
	h.host.Store(&host)
}

// await gives the host, which after a start lets the plugin watch in a moment.
func (h *hostHandle) await(ctx context.Context) (*sdk.Host, error) {
	for {
		if host := h.host.Load(); host != nil {
			return host, nil
		}
		select {
		case <-ctx.Done():
			return nil, errNoHost
		case <-time.After(20 * time.Millisecond):
		}
	}
}

var errNoHost = errors.New("the host does not listen at present")

func (h *hostHandle) series() (sdk.SeriesReader, error) {
	host := h.host.Load()
	if host == nil {
		return nil, errNoHost
	}
	return (*host).Series(h.storage), nil
}

// FindSeries implements sdk.SeriesReader.
func (h *hostHandle) FindSeries(ctx context.Context, q sdk.SeriesQuery) ([]sdk.FoundSeries, error) {
	s, err := h.series()
	if err != nil {
		return nil, err
	}
	return s.FindSeries(ctx, q)
}

// Windows implements sdk.SeriesReader.
func (h *hostHandle) Windows(ctx context.Context, qs []sdk.WindowQuery) (*sdk.Windows, error) {
	s, err := h.series()
	if err != nil {
		return nil, err
	}
	return s.Windows(ctx, qs)
}

// Follow implements sdk.SeriesReader.
func (h *hostHandle) Follow(ctx context.Context, q sdk.FollowQuery) iter.Seq2[*sdk.Advance, error] {
	s, err := h.series()
	if err != nil {
		return func(yield func(*sdk.Advance, error) bool) { yield(nil, err) }
	}
	return s.Follow(ctx, q)
}

// Compute implements sdk.SeriesReader.
func (h *hostHandle) Compute(ctx context.Context, q sdk.ComputeQuery) ([]sdk.ComputedSeries, error) {
	s, err := h.series()
	if err != nil {
		return nil, err
	}
	return s.Compute(ctx, q)
}

// Give implements action.Pipelines.
func (h *hostHandle) Give(ctx context.Context, list []*store.Delivery) error {
	host, err := h.await(ctx)
	if err != nil {
		return err
	}
	events := make([]*sdk.Event, len(list))
	for i, d := range list {
		if events[i], err = eventOf(d); err != nil {
			return &action.Refused{Reason: err.Error()}
		}
	}
	settled := make(chan error, 1)
	fill := func(out *sdk.Builder) error {
		for _, e := range events {
			out.AddEvent(*e)
		}
		return nil
	}
	if err := (*host).Deliver(ctx, fill, func(err error) { settled <- err }); err != nil {
		return err
	}
	select {
	case err := <-settled:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// eventOf makes the event of a change, as Aodh notifies of it.
func eventOf(d *store.Delivery) (*sdk.Event, error) {
	var change struct {
		Type, Name, Detail, Severity string

		User       string `json:"user_id"`
		Project    string `json:"project_id"`
		OnBehalfOf string `json:"on_behalf_of"`
	}
	if err := json.Unmarshal([]byte(d.Body), &change); err != nil {
		return nil, err
	}
	var detail struct {
		State      string
		Transition string `json:"transition_reason"`
	}
	if err := json.Unmarshal([]byte(change.Detail), &detail); err != nil {
		return nil, err
	}
	e := &sdk.Event{MessageID: d.ID.String(), EventType: "alarm." + strings.ReplaceAll(change.Type, " ", "_"), Generated: d.Created, Raw: []byte(change.Detail)}
	for _, t := range [][2]string{
		{"alarm_id", d.Alarm.String()}, {"name", change.Name}, {"project_id", change.OnBehalfOf}, {"user_id", change.User},
		{"severity", change.Severity}, {"state", detail.State}, {"reason", detail.Transition},
	} {
		if t[1] != "" {
			e.Traits = append(e.Traits, sdk.Trait{Name: t[0], Type: sdk.Text, Value: t[1]})
		}
	}
	return e, nil
}
