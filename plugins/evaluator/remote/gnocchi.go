package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/nephoscope/nepho/sdk"
)

var _ sdk.SeriesReader = (*Gnocchi)(nil)

// Gnocchi asks a Gnocchi, or another Nepho's aggregator. Its user has to see all metrics:
// what a scope may see is decided here. The numbers of series are its own, and end with
// it. Its methods may be called concurrently.
type Gnocchi struct {
	server  *server
	log     *slog.Logger
	numbers numbers
	seen    descriptions
	damaged damaged
}

// NewGnocchi prepares to ask. Keystone gives the service user of auth keystone; nil with
// others.
func NewGnocchi(o GnocchiOptions, keystone Service, log *slog.Logger) (*Gnocchi, error) {
	var who credentials
	switch {
	case o.Auth == "basic":
		who = basic(o.Username, o.Password)
	case o.Auth == "none":
		who = header{}
	case o.Auth == "keystone" && keystone != nil:
		who = keystone
	default:
		return nil, unknownAuth(o.Auth)
	}
	s, err := newServer("Gnocchi", o.URL, o.Timeout, o.TLS, who)
	if err != nil {
		return nil, err
	}
	return &Gnocchi{server: s, log: log, numbers: newNumbers(maxNumbers)}, nil
}

// Close closes idle connections.
func (g *Gnocchi) Close() { g.server.close() }

// post sends JSON, and decodes the answer.
func (g *Gnocchi) post(ctx context.Context, path string, query url.Values, body, into any) (http.Header, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return g.json(ctx, request{method: http.MethodPost, path: path, query: query, kind: "application/json", body: text}, into)
}

func (g *Gnocchi) json(ctx context.Context, q request, into any) (http.Header, error) {
	answer, h, err := g.server.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return nil, fmt.Errorf("the answer of Gnocchi to %s is none of Gnocchi: %w", q.path, err)
	}
	return h, nil
}

// refuse says of failures that are about the question that it is wrong.
func refuse(err error) error {
	var f *failure
	if !errors.As(err, &f) || !f.about() {
		return err
	}
	if cause, _ := f.cause(); cause == unknownMetrics {
		return sdk.Refuse(fmt.Errorf("a metric does not exist: %w", err))
	}
	return sdk.Refuse(err)
}

// point is [time, granularity, value].
type point struct {
	time  int64
	value float64
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *point) UnmarshalJSON(data []byte) error {
	var at time.Time
	var granularity json.RawMessage
	var value *float64
	list := []any{&at, &granularity, &value}
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	if len(list) != 3 || value == nil || at.Year() < 1970 || at.Year() > 2261 {
		return fmt.Errorf("%.100s is no measure", data)
	}
	p.time, p.value = at.UnixNano(), *value
	return nil
}

// columns gives times and values apart.
func columns(points []point) (times []int64, values []float64, err error) {
	times, values = make([]int64, len(points)), make([]float64, len(points))
	for i, p := range points {
		if i > 0 && p.time <= times[i-1] {
			return nil, nil, errors.New("the measures that Gnocchi answers are out of order")
		}
		times[i], values[i] = p.time, p.value
	}
	return times, values, nil
}

// span are the arguments of a question for windows.
func span(from, to time.Time, granularity time.Duration) url.Values {
	const micros = "2006-01-02T15:04:05.000000Z"
	return url.Values{
		"start": {from.UTC().Format(micros)}, "stop": {to.UTC().Format(micros)},
		"granularity": {strconv.FormatFloat(granularity.Seconds(), 'f', -1, 64)},
	}
}

// sees reports whether a scope has what a creator made, or what belongs to a project.
func sees(s *sdk.Scope, creator, project string) bool {
	user, its, _ := strings.Cut(creator, ":")
	return s.All || s.User != "" && user == s.User || s.Project != "" && (its == s.Project || project == s.Project)
}

// maxNumbers is how many metrics have numbers at least: as many as one question may name.
// There may be twice as many.
const maxNumbers = sdk.MaxSeries

// numbers gives metrics numbers, which rise. When a generation is full, it becomes the old
// one, which goes: so what is asked for stays, and what lost its number gets a new one
// when it is found again.
type numbers struct {
	mu         sync.Mutex
	size       int // of a generation
	last       uint64
	young, old generation
}

type generation struct {
	numbers map[uuid.UUID]uint64
	ids     map[uint64]uuid.UUID
}

func newGeneration() generation {
	return generation{map[uuid.UUID]uint64{}, map[uint64]uuid.UUID{}}
}

func newNumbers(size int) numbers {
	return numbers{size: size, young: newGeneration(), old: newGeneration()}
}

// of is the number of a metric.
func (n *numbers) of(id uuid.UUID) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	number, ok := n.young.numbers[id]
	if ok {
		return number
	}
	if number, ok = n.old.numbers[id]; !ok {
		n.last++
		number = n.last
	}
	n.put(id, number)
	return number
}

// id is the metric of a number, if it is known.
func (n *numbers) id(number uint64) (uuid.UUID, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id, ok := n.young.ids[number]
	if ok {
		return id, true
	}
	if id, ok = n.old.ids[number]; ok {
		n.put(id, number)
	}
	return id, ok
}

func (n *numbers) put(id uuid.UUID, number uint64) {
	if len(n.young.ids) >= n.size {
		n.old, n.young = n.young, newGeneration()
	}
	n.young.numbers[id], n.young.ids[number] = number, id
}
