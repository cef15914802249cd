package sdk_test

import (
	"context"
	"sync/atomic"

	"github.com/nephoscope/nepho/sdk"
)

// mailer is a publisher that tells how many mails wait in which queue.
type mailer struct {
	sent, waiting, late atomic.Int64
}

func (m *mailer) Publish(context.Context, *sdk.Batch) error { return nil }

// Measure may be called beside Publish: it reads what is counted in memory.
func (m *mailer) Measure(_ context.Context, out *sdk.Builder) error {
	out.On(sdk.Resource{}).Cumulative("sent", "mail", float64(m.sent.Load()))
	for queue, n := range map[string]int64{"new": m.waiting.Load(), "late": m.late.Load()} {
		out.On(sdk.Resource{Metadata: sdk.Metadata{"queue": queue}}).Gauge("waiting", "mail", float64(n))
	}
	return nil
}

func mailerPlugin() sdk.Plugin {
	return sdk.Plugin{
		Name: "mailer", Summary: "Sends mail.", Publisher: func() sdk.Publisher { return new(mailer) },
		Own: []sdk.MeterInfo{
			{Meter: sdk.Meter{Name: "sent", Type: sdk.Cumulative, Unit: "mail"}, Doc: "Mails that the server took."},
			{Meter: sdk.Meter{Name: "waiting", Type: sdk.Gauge, Unit: "mail"}, Doc: "Mails that wait, by queue."},
		},
	}
}

// The host shows these figures as nepho_mailer_sent_total{instance="..."} and
// nepho_mailer_waiting{instance="...",queue="..."}, and as samples nepho.mailer.sent and
// nepho.mailer.waiting.
func ExampleMeasurer() {
	sdk.Serve(mailerPlugin())
}
