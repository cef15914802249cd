package supervisor

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"github.com/nephoscope/nepho/sdk/figure"
	"github.com/nephoscope/nepho/sdk/wire"
)

// own is what a plugin may tell about itself. It is asked when somebody wants to know,
// and once in a life: what runs may be another version than what was asked before.
type own struct {
	plugin   string // its name in the configuration
	mu       sync.Mutex
	declared *figure.Declared
}

// Figures asks an instance of the plugin for figures about itself. None without an
// error: the plugin has none to tell. Those beside an error are right, others were left out.
func (l *Life) Figures(ctx context.Context, instance string) (list []figure.Figure, tells bool, err error) {
	declared, err := l.declared(ctx)
	if err != nil || declared.Empty() {
		return nil, false, err
	}
	// An answer that is too large is refused by its announced length.
	const room = 2 << 10 // for the error beside the batch
	reply, err := l.Measure(ctx, &wire.MeasureRequest{Instance: instance}, grpc.MaxCallRecvMsgSize(figure.MaxBytes+room))
	if err != nil {
		return nil, true, err
	}
	list, err = declared.Read(reply)
	return list, true, err
}

func (l *Life) declared(ctx context.Context) (*figure.Declared, error) {
	l.own.mu.Lock()
	defer l.own.mu.Unlock()
	if l.own.declared == nil {
		d, err := l.Describe(ctx, &wire.DescribeRequest{})
		if err != nil {
			return nil, err
		}
		l.own.declared = figure.Declare(l.own.plugin, d.Own)
	}
	return l.own.declared, nil
}
