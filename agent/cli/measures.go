package cli

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func measuresCommands() []command {
	return []command{
		{"show", "METRIC", "show measures of a metric", measuresShowHelp + clientHelp, (*App).measuresShow, nil},
		{"add", "METRIC MEASURE ...", "add measures to a metric", measuresAddHelp + clientHelp, (*App).measuresAdd, nil},
	}
}

const measuresShowHelp = metricHelp + `
  nepho measures show vm-1/cpu_util --start -1hour --granularity 60
  nepho measures show vm-1/cpu --aggregation rate:mean --granularity 300 --resample 3600

Times are such as 2026-11-22T10:00:00, seconds since 1970, or -2hours from now.
`

const measuresAddHelp = metricHelp + `
MEASURE is VALUE, for now, or TIME@VALUE; - reads one from each line of the
standard input.

  nepho measures add 6a5f9b1c-... 12.5 2026-11-22T10:00:00@12.75
`

func (a *App) measuresShow(flags *flag.FlagSet, args []string) int {
	f := addClientFlags(flags)
	values := map[string]*string{
		"start":       flags.String("start", "", "first `time`; all if not set"),
		"stop":        flags.String("stop", "", "`time` up to which, itself excluded"),
		"aggregation": flags.String("aggregation", "mean", "`method`, such as max or rate:mean"),
		"granularity": flags.String("granularity", "", "`length` of the windows, such as 300 or 5m; all that there are if not set"),
		"resample":    flags.String("resample", "", "`length` of windows to make of these; needs --granularity"),
	}
	names, code, done := a.parse(flags, args, 1)
	if done {
		return code
	}
	if len(names) == 0 {
		return a.lacks(flags, "METRIC")
	}
	c, ok := a.ask(flags.Name(), f)
	if !ok {
		return exitFailed
	}
	query := url.Values{}
	for key, value := range values {
		if *value != "" {
			query.Set(key, *value)
		}
	}
	var list [][3]any
	raw, _, err := c.do(http.MethodGet, metricPath(names[0])+"/measures", query, nil, &list)
	if err != nil {
		return c.fail(err)
	}
	if f.json {
		return c.json(json.RawMessage(raw))
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tGRANULARITY\tVALUE")
	for _, m := range list {
		fmt.Fprintf(w, "%v\t%s\t%s\n", m[0], number(m[1]), number(m[2]))
	}
	w.Flush()
	return exitOK
}

// number writes a number without an exponent where it can.
func number(v any) string {
	if n, ok := v.(float64); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// measureJSON is a measure as the API takes it.
type measureJSON struct {
	Timestamp string  `json:"timestamp"`
	Value     float64 `json:"value"`
}

// parseMeasure reads VALUE or TIME@VALUE.
func parseMeasure(text string, now time.Time) (measureJSON, error) {
	at, value, timed := strings.Cut(text, "@")
	if !timed {
		at, value = now.UTC().Format(time.RFC3339Nano), text
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil {
		return measureJSON{}, fmt.Errorf("%q is no measure such as 12.5 or 2026-11-22T10:00:00@12.5", text)
	}
	return measureJSON{strings.TrimSpace(at), v}, nil
}

// addAtOnce is how many measures are sent in one request.
const addAtOnce = 10_000

func (a *App) measuresAdd(flags *flag.FlagSet, args []string) int {
	f := addClientFlags(flags)
	// A value below zero and a time before now are no options.
	for i, arg := range args {
		if _, err := parseMeasure(arg, time.Now()); err == nil {
			args[i] = " " + arg
		}
	}
	names, code, done := a.parse(flags, args, -1)
	if done {
		return code
	}
	if len(names) < 2 {
		return a.lacks(flags, []string{"METRIC", "MEASURE"}[len(names)])
	}
	c, ok := a.ask(flags.Name(), f)
	if !ok {
		return exitFailed
	}
	now, sent := time.Now(), 0
	var list []measureJSON
	send := func() error {
		if len(list) == 0 {
			return nil
		}
		_, _, err := c.do(http.MethodPost, metricPath(names[0])+"/measures", nil, list, nil)
		sent += len(list)
		list = list[:0]
		return err
	}
	add := func(text string) error {
		m, err := parseMeasure(text, now)
		if err != nil {
			return err
		}
		if list = append(list, m); len(list) >= addAtOnce {
			return send()
		}
		return nil
	}
	for _, arg := range names[1:] {
		if arg != "-" {
			if err := add(arg); err != nil {
				return c.fail(err)
			}
			continue
		}
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if strings.TrimSpace(lines.Text()) == "" {
				continue
			}
			if err := add(lines.Text()); err != nil {
				return c.fail(err)
			}
		}
		if err := lines.Err(); err != nil {
			return c.fail(fmt.Errorf("cannot read the standard input: %w", err))
		}
	}
	if err := send(); err != nil {
		return c.fail(err)
	}
	fmt.Fprintln(a.Stdout, count(sent, "measure"), "added")
	return exitOK
}
