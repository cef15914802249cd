package cli

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/guptarohit/asciigraph"
)

// alarmHelp ends the help of each of these commands.
const alarmHelp = `
The alarm plugin is asked through its HTTP API: at the address that the
configuration's [[alarm.evaluator]] listens on, or at --url. Who asks is --user,
or the one whose Keystone token is in NEPHO_TOKEN or OS_TOKEN.`

const alarmListHelp = `
Administrators see the alarms of all projects, others those of their own.
`

const alarmNameHelp = `
ALARM is an id or a name.
`

const alarmTestHelp = `
What would an alarm have done? The rule is judged by what is stored of the past, window
by window. Nothing is stored, and nobody is told.

  nepho alarm test busy-web
  nepho alarm test --last 168h new-alarm.json

ALARM is an id or a name of an alarm that there is, or a JSON file with a definition as
Aodh's API takes it.
`

func alarmCommands() []command {
	return []command{
		{"list", "", "list alarms and their states", alarmListHelp + alarmHelp, (*App).alarmList, nil},
		{"show", "ALARM", "show an alarm", alarmNameHelp + alarmHelp, (*App).alarmShow, nil},
		{"history", "ALARM", "show what happened to an alarm", alarmNameHelp + alarmHelp, (*App).alarmHistory, nil},
		{"test", "ALARM", "show when an alarm would have fired", alarmTestHelp + alarmHelp, (*App).alarmTest, nil},
	}
}

// alarmJSON is an alarm as the API has it.
type alarmJSON struct {
	ID       string `json:"alarm_id"`
	Name     string `json:"name"`
	Type     string `json:"type"`
	State    string `json:"state"`
	Severity string `json:"severity"`
	Enabled  bool   `json:"enabled"`
	Since    string `json:"state_timestamp"`
}

func (a *App) alarmList(flags *flag.FlagSet, args []string) int {
	f := addFlagsOf(theAlarms, flags)
	state := flags.String("state", "", "only those in this `state`: ok, alarm, \"insufficient data\"")
	limit := flags.Int("limit", 1000, "`number` at most")
	if _, code, done := a.parse(flags, args, 0); done {
		return code
	}
	c, ok := a.ask(flags.Name(), f)
	if !ok {
		return exitFailed
	}
	query := map[string]any{"limit": *limit + 1, "orderby": `[{"name": "asc"}]`}
	if *state != "" {
		query["filter"] = fmt.Sprintf(`{"=": {"state": %s}}`, quote(*state))
	}
	var list []json.RawMessage
	if _, _, err := c.do(http.MethodPost, "/v2/query/alarms", nil, query, &list); err != nil {
		return c.fail(err)
	}
	if len(list) > *limit {
		list = list[:*limit]
		fmt.Fprintf(a.Stderr, "These are the first %d by name; --limit shows more.\n", *limit)
	}
	return table(c, list, f.json, "ID\tNAME\tTYPE\tSTATE\tSINCE\tSEVERITY\tENABLED", func(m alarmJSON) []string {
		return []string{m.ID, m.Name, m.Type, m.State, m.Since, m.Severity, fmt.Sprint(m.Enabled)}
	})
}

// findAlarm gives an alarm by its id or name.
func (c *client) findAlarm(name string) (json.RawMessage, error) {
	var list []json.RawMessage
	filter := fmt.Sprintf(`{"or": [{"=": {"alarm_id": %[1]s}}, {"=": {"name": %[1]s}}]}`, quote(name))
	if _, _, err := c.do(http.MethodPost, "/v2/query/alarms", nil, map[string]any{"filter": filter}, &list); err != nil {
		return nil, err
	}
	switch len(list) {
	case 0:
		return nil, fmt.Errorf("there is no alarm %q", name)
	case 1:
		return list[0], nil
	}
	return nil, fmt.Errorf("%d alarms have the name %q: give the id", len(list), name)
}

func quote(s string) string {
	data, _ := json.Marshal(s) // a text always can be
	return string(data)
}

// oneAlarm parses the arguments of a command about an alarm.
func (a *App) oneAlarm(flags *flag.FlagSet, f *clientFlags, args []string) (c *client, name string, code int, ok bool) {
	names, code, done := a.parse(flags, args, 1)
	if done {
		return nil, "", code, false
	}
	if len(names) == 0 {
		return nil, "", a.lacks(flags, "ALARM"), false
	}
	if c, ok = a.ask(flags.Name(), f); !ok {
		return nil, "", exitFailed, false
	}
	return c, names[0], exitOK, true
}

func (a *App) alarmShow(flags *flag.FlagSet, args []string) int {
	f := addFlagsOf(theAlarms, flags)
	c, name, code, ok := a.oneAlarm(flags, f, args)
	if !ok {
		return code
	}
	alarm, err := c.findAlarm(name)
	if err != nil {
		return c.fail(err)
	}
	if f.json {
		return c.json(alarm)
	}
	var m map[string]any
	if err := json.Unmarshal(alarm, &m); err != nil {
		return c.fail(err)
	}
	var pairs []string
	for _, key := range []string{
		"alarm_id", "name", "description", "type", "state", "state_reason", "state_timestamp", "severity", "enabled", "ok_actions", "alarm_actions",
		"insufficient_data_actions", "repeat_actions", "time_constraints", "project_id", "user_id", "timestamp", fmt.Sprint(m["type"]) + "_rule",
	} {
		text, isText := m[key].(string)
		if !isText && m[key] != nil {
			data, err := json.Marshal(m[key])
			if err != nil {
				return c.fail(err)
			}
			if text = string(data); text == "[]" {
				continue
			}
		}
		pairs = append(pairs, key, text)
	}
	return c.fields(pairs...)
}

func (a *App) alarmHistory(flags *flag.FlagSet, args []string) int {
	f := addFlagsOf(theAlarms, flags)
	limit := flags.Int("limit", 100, "`number` of changes at most, the newest")
	c, name, code, ok := a.oneAlarm(flags, f, args)
	if !ok {
		return code
	}
	alarm, err := c.findAlarm(name)
	if err != nil {
		return c.fail(err)
	}
	var found alarmJSON
	if err := json.Unmarshal(alarm, &found); err != nil {
		return c.fail(err)
	}
	var list []json.RawMessage
	if _, _, err := c.do(http.MethodGet, "/v2/alarms/"+found.ID+"/history", url.Values{"limit": {fmt.Sprint(*limit)}}, nil, &list); err != nil {
		return c.fail(err)
	}
	type change struct{ Timestamp, Type, Detail string }
	return table(c, list, f.json, "TIME\tCHANGE\tSTATE\tREASON", func(m change) []string {
		var detail struct {
			State, Reason string
			Transition    string `json:"transition_reason"`
			Manual        string `json:"state_reason"`
		}
		_ = json.Unmarshal([]byte(m.Detail), &detail) // what it has not stays empty
		return []string{m.Timestamp, m.Type, detail.State, detail.Transition + detail.Manual}
	})
}

// tested is the answer to a test.
type tested struct {
	Steps       []step
	Transitions []struct{ At, Previous, Current, Reason string }
}

// step is what an alarm would have been at a time.
type step struct {
	At    string
	State string
	// Values are those of the rule's leaves, nil where there is no number.
	Values []*float64
}

func (a *App) alarmTest(flags *flag.FlagSet, args []string) int {
	f := addFlagsOf(theAlarms, flags)
	last := flags.Duration("last", 24*time.Hour, "how far back to begin, such as 168h")
	width := flags.Int("width", 100, "`columns` of the plot; 0 leaves it out")
	c, name, code, ok := a.oneAlarm(flags, f, args)
	if !ok {
		return code
	}
	alarm, err := c.alarmOrFile(name)
	if err != nil {
		return c.fail(err)
	}
	now := time.Now().UTC()
	query := url.Values{"start": {now.Add(-*last).Format(time.RFC3339)}, "stop": {now.Format(time.RFC3339)}}
	var t tested
	raw, _, err := c.do(http.MethodPost, "/v2/test", query, alarm, &t)
	if err != nil {
		return c.fail(err)
	}
	if f.json {
		return c.json(json.RawMessage(raw))
	}
	if *width > 0 {
		a.plot(&t, *width)
	}
	if len(t.Transitions) == 0 {
		fmt.Fprintln(a.Stdout, "It would not have changed its state.")
		if !slices.ContainsFunc(t.Steps, func(s step) bool { return s.State != "insufficient data" }) {
			fmt.Fprintln(a.Stdout, "There were no data for its rule: are they older or younger than that, or of another metric, resource or granularity?")
		}
		return exitOK
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tBEFORE\tSTATE\tREASON")
	for _, m := range t.Transitions {
		fmt.Fprintln(w, strings.Join([]string{m.At, m.Previous, m.Current, m.Reason}, "\t"))
	}
	w.Flush()
	return exitOK
}

// alarmOrFile gives the alarm of a name, or the one in a file.
func (c *client) alarmOrFile(name string) (json.RawMessage, error) {
	data, err := os.ReadFile(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return c.findAlarm(name)
	case err != nil:
		return nil, err
	case !json.Valid(data):
		return nil, fmt.Errorf("%s is no JSON", name)
	}
	return data, nil
}

// plot draws the values of the rule's first leaf, and below them the states.
func (a *App) plot(t *tested, width int) {
	if len(t.Steps) == 0 {
		return
	}
	width = min(width, len(t.Steps))
	values, states := make([]float64, width), make([]byte, width)
	any := false
	for i := range values {
		values[i], states[i] = math.NaN(), '.'
		// Of the steps of a column the worst state and the last value are drawn.
		for _, step := range t.Steps[i*len(t.Steps)/width : (i+1)*len(t.Steps)/width] {
			if len(step.Values) > 0 && step.Values[0] != nil {
				values[i], any = *step.Values[0], true
			}
			switch {
			case step.State == "alarm":
				states[i] = 'A'
			case step.State == "ok" && states[i] == '.':
				states[i] = 'o'
			}
		}
	}
	if any {
		fmt.Fprintln(a.Stdout, asciigraph.Plot(values, asciigraph.Height(10), asciigraph.LowerBound(0)))
	}
	fmt.Fprintf(a.Stdout, "%s\nfrom %s to %s; A alarm, o ok, . insufficient data\n\n", states, t.Steps[0].At, t.Steps[len(t.Steps)-1].At)
}
