package definition

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// faults are where Aodh's library of cron errs.
var faults = map[string]string{
	"30 */5 * 2 * at 2025-02-01T05:30:00Z": "the first start of the month is left out",
	"0 */2 * * 0 at 2026-03-08T07:21:51Z":  "a start in an hour that clocks skip is left out, which it is not if the constraint lasts longer",
}

// TestConstraintsAreAodhs: see testdata/constraints.py.
func TestConstraintsAreAodhs(t *testing.T) {
	f, err := os.Open("testdata/constraints.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	kinds, early := map[string]int{}, 0
	for lines := bufio.NewScanner(z); lines.Scan(); {
		var v struct {
			Constraints []struct {
				Start, Timezone string
				Duration        int
			}
			Now           time.Time
			Kind          string
			Holds, Inside bool
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		kinds[v.Kind]++
		if v.Holds && !v.Inside {
			early++ // in the minute before a start, which Aodh takes for the start
		}
		holds := false
		for _, c := range v.Constraints {
			s, err := (&Constraint{Start: c.Start, Timezone: c.Timezone, Duration: time.Duration(c.Duration) * time.Second}).Schedule()
			if err != nil {
				t.Fatalf("%s\n%v", lines.Bytes(), err)
			}
			holds = holds || s.Holds(v.Now)
		}
		if fault := faults[v.Constraints[0].Start+" at "+v.Now.Format(time.RFC3339)]; holds != v.Inside && fault == "" {
			t.Errorf("%s\nis %v", lines.Bytes(), holds)
		}
	}
	if kinds["any"] < 1000 || kinds["start"] < 1000 || kinds["change"] < 500 || early > 300 {
		t.Errorf("the cases are %v, %d of them early", kinds, early)
	}
}

// TestClocksChange: starts that clocks skip are later, and those that they show twice are twice.
func TestClocksChange(t *testing.T) {
	for _, test := range []struct{ zone, start, from, want string }{
		{"America/New_York", "0 2 * * *", "2026-03-08T00:00:00Z", "2026-03-08T07:00:00Z"},  // 3:00
		{"America/New_York", "30 2 * * *", "2026-03-08T07:00:00Z", "2026-03-08T07:30:00Z"}, // 3:30
		{"America/New_York", "30 2 * * *", "2026-03-08T07:30:00Z", "2026-03-09T06:30:00Z"},
		{"America/New_York", "15,45 2-3 * * *", "2026-03-08T06:59:00Z", "2026-03-08T07:15:00Z"},
		{"America/New_York", "30 1 * * *", "2025-11-02T00:00:00Z", "2025-11-02T05:30:00Z"},
		{"America/New_York", "30 1 * * *", "2025-11-02T05:30:00Z", "2025-11-02T06:30:00Z"},
		{"America/New_York", "30 1 * * *", "2025-11-02T06:30:00Z", "2025-11-03T06:30:00Z"},
		{"America/New_York", "0 12 1 7 *", "2025-11-02T06:30:00Z", "2026-07-01T16:00:00Z"}, // over two changes
		{"America/New_York", "0 0 31 2 *", "2025-11-02T06:30:00Z", ""},
		{"Australia/Lord_Howe", "15 2 * * *", "2025-10-04T15:00:00Z", "2025-10-04T15:45:00Z"}, // by half an hour
		{"Australia/Lord_Howe", "45 1 * * *", "2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"},
		{"Pacific/Apia", "0 12 30 12 *", "2011-12-29T00:00:00Z", "2011-12-30T22:00:00Z"}, // a day that there was not
		{"Asia/Kolkata", "0 0 * * 5-7", "2026-01-03T18:30:00Z", "2026-01-08T18:30:00Z"},  // from Sunday to Friday
	} {
		s, err := (&Constraint{Start: test.start, Timezone: test.zone}).Schedule()
		if err != nil {
			t.Fatal(err)
		}
		from, err := time.Parse(time.RFC3339, test.from)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if next := s.Next(from); !next.IsZero() {
			got = next.UTC().Format(time.RFC3339)
		}
		if got != test.want {
			t.Errorf("%s in %s after %s is %s, not %s", test.start, test.zone, test.from, got, test.want)
		}
	}
}

func TestWeekdays(t *testing.T) {
	for field, want := range map[string]string{
		"*": "*", "7": "7", "mon": "mon", "5-7": "5,6,0", "fri-sun": "5,6,0", "1-5": "1,2,3,4,5", "Mon-Wed,5": "1,2,3,5", "1-7/3": "1,4,0",
		"0-6": "*", "0-7": "*", "1-7": "*", "5-1": "5-1", "5#2": "5#2", "*/2": "*/2", "mon-xyz": "mon-xyz", "sun-tue": "0,1,2", "5-0": "5,6,0", "0-0": "0", "sun-sun": "0", "mon-dec": "mon-dec",
	} {
		if got := weekdays(field); got != want {
			t.Errorf("%s is written as %s, not %s", field, got, want)
		}
	}
}

// TestRangesRunForwards: Aodh refuses those that run backwards, too. The library took them, and panicked
// when it was asked for the next start, or went through all seconds until 2100.
func TestRangesRunForwards(t *testing.T) {
	for start, ok := range map[string]bool{
		"59-0 12 * * *": false, "0 23-1 * * *": false, "0 0 30-2 * *": false, "0 0 * 12-1 *": false, "0 0 * nov-Feb *": false, "0 0 * * 5-1": false,
		"0 0 * * fri-mon": false, "* * * * * 59-0": false, "5,50-10/5 * * * *": false,
		"0-59 12 * * *": true, "0 1-23/2 * * *": true, "0 0 2-30 * *": true, "0 0 * jan-DEC *": true, "0 0 * * 5-7": true, "0 0 * * sat-sun": true, "0 0 * * 6-0": true,
		"0 0 * * sun-tue": true, "* * * * * 0-59": true, "5,10-50/5 * * * *": true, "7-7 * * * *": true,
	} {
		s, err := (&Constraint{Start: start}).Schedule()
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "runs backwards") {
			t.Errorf("%s: %v", start, err)
		}
		if err == nil && s.Next(time.Unix(1_767_225_600, 0)).IsZero() {
			t.Errorf("%s begins never", start)
		}
	}
}

// FuzzSchedule: what is read as a constraint begins to hold at its next start, and not before.
func FuzzSchedule(f *testing.F) {
	f.Add("0 23 * * *", "Europe/Ljubljana", 10800, int64(1_774_746_000))
	f.Add("*/15 1-3 * * 5-7", "America/New_York", 60, int64(1_762_061_400))
	f.Add("30 4 L feb * */20", "", 0, int64(0))
	f.Add("59-0 * * 12-1 sun-mon", "", 60, int64(0))
	f.Add("0 0 31 2 *", "Pacific/Apia", 366*24*3600, int64(1_325_239_200))
	f.Fuzz(func(t *testing.T, start, zone string, duration int, at int64) {
		if duration < 0 || duration > maxLength || at < -1e10 || at > 1e10 {
			t.Skip()
		}
		s, err := (&Constraint{Start: start, Timezone: zone, Duration: time.Duration(duration) * time.Second}).Schedule()
		if err != nil {
			return
		}
		now := time.Unix(at, 0)
		if s.Holds(now) {
			return
		}
		next := s.Next(now)
		if next.IsZero() {
			return
		}
		if !next.After(now) || !s.Holds(next) || s.Holds(next.Add(-1)) {
			t.Errorf("after %v it is next %v, where it is %v, and a moment before %v", now, next, s.Holds(next), s.Holds(next.Add(-1)))
		}
	})
}
