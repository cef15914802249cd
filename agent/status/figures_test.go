package status

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/agent/host"
	"github.com/nephoscope/nepho/sdk"
	"github.com/nephoscope/nepho/sdk/figure"
	"github.com/nephoscope/nepho/sdk/wire"
)

// figures are those of two instances of a plugin, of a plugin of another kind that has the
// same name, and of one that does not answer.
func figures() []host.Figures {
	waiting := figure.Meter{Name: "nepho.mail.waiting", Metric: "nepho_mail_waiting", Unit: "mail", Doc: "Mails that wait, by queue."}
	sent := figure.Meter{Name: "nepho.mail.sent", Metric: "nepho_mail_sent_total", Type: sdk.Cumulative, Unit: "mail", Doc: "Mails that were taken."}
	another, wrong := waiting, sent
	another.Doc, wrong.Type = "Another thing.", sdk.Gauge
	return []host.Figures{
		{Instance: "a", Plugin: "publisher/mail", Figures: []figure.Figure{
			{Meter: sent, Value: 1e6},
			{Meter: waiting, Labels: map[string]string{"queue": `<b>"late"`, "rack": "7"}, Value: 2},
			{Meter: waiting, Labels: map[string]string{"queue": "new"}, Value: 0.5},
		}},
		{Instance: "b", Plugin: "publisher/mail", Figures: []figure.Figure{{Meter: sent, Value: 3}}},
		{Instance: "c", Plugin: "pollster/mail", Figures: []figure.Figure{{Meter: another, Value: 4}, {Meter: wrong, Value: 5}}},
		{Instance: "d", Plugin: "storage/slow", Error: "no answer within 1s"},
	}
}

func TestMetricsOfPlugins(t *testing.T) {
	w := get(t, Handler(busy(t)), "/metrics")
	if w.Code != http.StatusOK {
		t.Fatalf("code %d: %s", w.Code, w.Body)
	}
	var got []string
	for _, line := range strings.Split(w.Body.String(), "\n") {
		if strings.Contains(line, "nepho_mail_") || strings.Contains(line, "nepho_instance_measured{") {
			got = append(got, line)
		}
	}
	want := []string{
		`nepho_instance_measured{instance="a"} 1`,
		`nepho_instance_measured{instance="b"} 1`,
		`nepho_instance_measured{instance="c"} 1`,
		`nepho_instance_measured{instance="d"} 0`,
		`# HELP nepho_mail_sent_total Mails that were taken.`,
		`# TYPE nepho_mail_sent_total counter`,
		`nepho_mail_sent_total{instance="a"} 1e+06`,
		`nepho_mail_sent_total{instance="b"} 3`,
		`# HELP nepho_mail_waiting Mails that wait, by queue.`,
		`# TYPE nepho_mail_waiting gauge`,
		`nepho_mail_waiting{instance="c"} 4`,
		`nepho_mail_waiting{instance="a",queue="new"} 0.5`,
		`nepho_mail_waiting{instance="a",queue="<b>\"late\"",rack="7"} 2`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("it is\n%s", strings.Join(got, "\n"))
	}
}

// No plugin can be called so that its figures pass for the host's own.
func TestHostsNamesAreReserved(t *testing.T) {
	n := 0
	for _, line := range strings.Split(get(t, Handler(busy(t)), "/metrics").Body.String(), "\n") {
		name, ok := strings.CutPrefix(line, "# HELP nepho_")
		if !ok || strings.HasPrefix(name, "mail_") {
			continue
		}
		n++
		name, _, _ = strings.Cut(name, " ")
		plugin, _, _ := strings.Cut(name, "_")
		if figure.Declare(plugin, []*wire.MeterDescription{{Name: "waiting", Doc: "x"}}).Err() == nil {
			t.Errorf("a plugin called %s could tell nepho_%s", plugin, name)
		}
	}
	if n < 40 {
		t.Errorf("the host has %d metrics", n)
	}
}

func TestFiguresElsewhere(t *testing.T) {
	h := Handler(busy(t))
	page := get(t, h, "/").Body.String()
	for _, says := range []string{"nepho.mail.waiting", "queue new", "&lt;b&gt;&#34;late&#34;", "<td class=\"n\">1000000<td>mail", "no answer within 1s", "Mails that wait, by queue."} {
		if !strings.Contains(page, says) {
			t.Errorf("the page does not say %q", says)
		}
	}
	var s struct {
		PID     int
		Figures []host.Figures
	}
	if err := json.Unmarshal(get(t, h, "/status").Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.PID != 42 || len(s.Figures) != 4 || s.Figures[0].Figures[1].Labels["rack"] != "7" || s.Figures[0].Figures[0].Type != sdk.Cumulative || s.Figures[3].Error == "" {
		t.Errorf("it is %+v", s)
	}
}
