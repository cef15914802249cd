package evaluator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/nephoscope/nepho/plugins/evaluator/action"
	"github.com/nephoscope/nepho/plugins/evaluator/evaluate"
	"github.com/nephoscope/nepho/plugins/evaluator/filter"
	"github.com/nephoscope/nepho/plugins/evaluator/store"
)

// TestActionsOfRules: what can't be done for an alarm that is written in TOML is refused where
// it is read, in the agent's configuration as in a file, with a reason.
func TestActionsOfRules(t *testing.T) {
	mail, keystone := options{SMTP: action.MailOptions{Server: "mail:25"}}, options{}
	keystone.Auth = "keystone"
	for text, want := range map[string]struct {
		o      options
		reason string // "": it is taken
	}{
		"https://hooks.example.com/x?y=z": {},
		"log:":                            {},
		"test://":                         {},
		"mailto:a@example.com":            {o: mail},
		"mailto:a@b.c,d@e.f?subject=x":    {o: mail},
		"zaqar://?topic=t":                {o: keystone},
		"mailto:b@example.com":            {reason: "set smtp.server"},
		"mailto:a":                        {o: mail, reason: "missing '@'"},
		"zaqar://?topic=u":                {reason: `set auth = "keystone"`},
		"zaqar://?subscriber=s":           {o: keystone, reason: "topic"},
		"trust+https://hooks.example.com": {o: keystone, reason: "the user who makes the alarm by the API"},
		"trust+zaqar://?queue_name=q":     {o: keystone, reason: "the user who makes the alarm by the API"},
		"trust+http://id@example.com":     {o: keystone, reason: "trust URL cannot contain a trust ID"},
		"trust:id":                        {o: keystone, reason: "Unsupported action trust:id"},
		"ftp://example.com":               {reason: "Unsupported action"},
		"https:///x":                      {reason: "Unable to parse action"},
		"://":                             {reason: "Unable to parse action"},
	} {
		for _, state := range []string{"ok", "alarm", "insufficient_data"} {
			rule := fmt.Sprintf("[[rule]]\nname = 'a'\ntype = 'event'\nevent_rule = { event_type = 'x' }\n%s_actions = ['log:', '%s']\n", state, text)
			inline, folder := want.o, want.o
			if err := toml.Unmarshal([]byte(rule), &inline); err != nil {
				t.Fatal(err)
			}
			folder.RulesFrom = t.TempDir()
			if err := os.WriteFile(filepath.Join(folder.RulesFrom, "a.toml"), []byte(rule), 0o600); err != nil {
				t.Fatal(err)
			}
			inFile := written{}.addFiles(&folder)
			inConfig := written{}.add(&inline, inline.Rules, ownOrigin)
			checked := (&evaluator{options: inline}).Validate()
			for where, err := range map[string]error{"a.toml": inFile, ownOrigin: inConfig} {
				if (err == nil) != (want.reason == "") || err != nil && (!strings.Contains(err.Error(), want.reason) || !strings.Contains(err.Error(), where)) {
					t.Errorf("%s in %s: %v", text, where, err)
				}
			}
			// Other options are wrong here, too.
			if got := fmt.Sprint(checked); strings.Contains(got, "rule[0]") != (want.reason != "") || !strings.Contains(got, want.reason) {
				t.Errorf("%s is checked: %s", text, got)
			}
		}
	}
}

// folder is an evaluator whose alarms are in a folder.
type folder struct {
	*evaluator
	t   *testing.T
	log strings.Builder
}

func newFolder(t *testing.T, name string) *folder {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: filepath.Join(t.TempDir(), "alarms.sqlite")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &folder{t: t}
	f.evaluator = &evaluator{
		store: s, engine: evaluate.New(evaluate.Options{Store: s, Interval: time.Minute}), queue: action.New(action.Options{Store: s}),
		log: slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelError})),
	}
	f.RulesFrom, f.Events = filepath.Join(t.TempDir(), name), true
	if err := os.Mkdir(f.RulesFrom, 0o700); err != nil {
		t.Fatal(err)
	}
	return f
}

// ruleText is an alarm in TOML.
func ruleText(name, severity string) string {
	return fmt.Sprintf("[[rule]]\nname = '%s'\nseverity = '%s'\ntype = 'event'\nevent_rule = { event_type = 'x' }\n", name, severity)
}

func (f *folder) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.RulesFrom, name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) rename(from, to string) {
	f.t.Helper()
	if err := os.Rename(from, to); err != nil {
		f.t.Fatal(err)
	}
}

// has checks which alarms are stored, by their names and severities.
func (f *folder) has(when string, want ...string) {
	f.t.Helper()
	list, err := f.store.Written(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	var got []string
	for _, a := range list {
		got = append(got, a.Name+" "+a.Severity.String())
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		f.t.Errorf("%s there are %q, not %q", when, got, want)
	}
}

// reconciled takes the folder over, which fails for a reason, if there is one.
func (f *folder) reconciled(why string) {
	f.t.Helper()
	err := f.reconcile(f.t.Context())
	if (err == nil) != (why == "") || err != nil && (!strings.Contains(err.Error(), why) || !errors.As(err, new(*folderError))) {
		f.t.Errorf("the error is %v, not %q", err, why)
	}
}

// TestFolderIsAway: alarms whose folder can't be read at present are not deleted, since they
// would be new ones when it is there again, without their states and what they owe.
func TestFolderIsAway(t *testing.T) {
	for _, name := range []string{"alarms", "[a-b]*?"} {
		f := newFolder(t, name)
		f.reconciled("") // it has not had any yet
		f.write("a.toml", ruleText("a", "low")+ruleText("b", "low"))
		f.reconciled("")
		f.has("at first", "a low", "b low")

		f.Rules = []map[string]any{{"name": "own", "type": "event", "event_rule": map[string]any{}}}
		f.rename(f.RulesFrom, f.RulesFrom+".away")
		f.reconciled("no such file or directory")
		f.has("without the folder", "a low", "b low", "own low")
		if err := os.Mkdir(f.RulesFrom, 0o700); err != nil {
			t.Fatal(err)
		}
		f.reconciled("there is no file *.toml")
		f.has("with an empty folder", "a low", "b low", "own low")
		f.Rules = nil
		f.reconciled("there is no file *.toml")
		f.has("with an empty folder and none in the configuration", "a low", "b low")

		f.write("a.toml", ruleText("a", "critical"))
		f.reconciled("")
		f.has("with a file", "a critical")
		f.write("a.toml", "")
		f.reconciled("")
		f.has("with an empty file")
	}
}

// TestFilesOfOthers: what editors leave in a folder is no file of alarms.
func TestFilesOfOthers(t *testing.T) {
	f := newFolder(t, "alarms")
	f.write("a.toml", ruleText("a", "low"))
	f.write(".b.toml", "half a fi")
	f.write("a.toml~", "half a fi")
	if err := os.Symlink("user@host.1234", filepath.Join(f.RulesFrom, ".#a.toml")); err != nil {
		t.Fatal(err)
	}
	f.reconciled("")
	f.has("beside others", "a low")
}

// TestRulesHaveNoQuota: the operator, who sets quotas, writes the files, too.
func TestRulesHaveNoQuota(t *testing.T) {
	f := newFolder(t, "alarms")
	if err := f.store.SetQuotas(t.Context(), "", []store.Quota{{Resource: "alarms", Limit: 0}}); err != nil {
		t.Fatal(err)
	}
	f.write("a.toml", ruleText("a", "low"))
	f.reconciled("")
	f.has("beyond the quota", "a low")
}

// TestRulesAreTriedAgain: what could not be taken over is tried at each tick, also when the
// files look as before, and told once.
func TestRulesAreTriedAgain(t *testing.T) {
	f := newFolder(t, "alarms")
	f.write("a.toml", ruleText("a", "low"))
	f.reconciled("")
	done := f.stamp()
	right := ruleText("a", "moderate")
	at := time.Now().Add(-time.Hour)
	replace := func(text string) { // in one step, as somebody may be reading
		f.write(".new", text)
		if err := os.Chtimes(filepath.Join(f.RulesFrom, ".new"), at, at); err != nil {
			t.Fatal(err)
		}
		f.rename(filepath.Join(f.RulesFrom, ".new"), filepath.Join(f.RulesFrom, "a.toml"))
	}
	replace(strings.Repeat("x", len(right)))
	ctx, cancel := context.WithCancel(t.Context())
	tick, ended := make(chan time.Time), make(chan struct{})
	go func() {
		defer close(ended)
		f.followRules(ctx, tick, done)
	}()
	for range 3 { // the last is over when another one is taken
		tick <- at
	}
	replace(right)
	tick <- at
	tick <- at
	f.has("after the fault", "a moderate")
	cancel()
	<-ended
	if n := strings.Count(f.log.String(), "can't be taken over"); n != 1 {
		t.Errorf("the fault is told %d times: %s", n, f.log.String())
	}
}

// TestHalfWrittenRules: a file that changes is taken over when it has stood still for a tick.
func TestHalfWrittenRules(t *testing.T) {
	f := newFolder(t, "alarms")
	f.write("a.toml", ruleText("a", "low"))
	f.reconciled("")
	tick, ended := make(chan time.Time), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := f.stamp()
	go func() {
		defer close(ended)
		f.followRules(ctx, tick, done)
	}()
	f.write("a.toml", "")
	tick <- time.Now()
	f.write("a.toml", ruleText("a", "critical"))
	for range 4 {
		tick <- time.Now()
	}
	f.has("in the end", "a critical")
	cancel()
	<-ended
	if changes, err := f.store.Changes(t.Context(), store.Query{}); err != nil || len(changes) != 2 {
		t.Errorf("%d changes, %v", len(changes), err)
	}
}

// TestHistoryOfRules: history has what changed, as that of others' alarms, which is an event, too.
func TestHistoryOfRules(t *testing.T) {
	f := newFolder(t, "alarms")
	f.write("a.toml", ruleText("a", "low"))
	f.reconciled("")
	f.write("a.toml", ruleText("a", "critical"))
	f.reconciled("")
	f.rename(filepath.Join(f.RulesFrom, "a.toml"), filepath.Join(f.RulesFrom, "b.toml"))
	f.reconciled("")
	f.write("b.toml", "")
	f.reconciled("")
	changes, err := f.store.Changes(t.Context(), store.Query{Order: []filter.Order{{Field: "timestamp"}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, c.Kind.String()+" "+c.Detail)
	}
	if len(got) != 3 || !strings.HasPrefix(got[0], `creation {"alarm_id": `) || !strings.HasSuffix(got[0], `"rule": {"event_type": "x", "query": []}}`) ||
		got[1] != `rule change {"severity": "critical"}` || got[2] != `deletion {"state": "insufficient data"}` {
		t.Errorf("history is %q", got)
	}
	owed, err := f.store.Owed(t.Context(), action.EventTarget, 0, 10)
	if err != nil || len(owed) != 1 { // deleting drops what is owed but the deletion
		t.Errorf("%d events are owed, %v", len(owed), err)
	}
}
