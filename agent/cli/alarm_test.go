package cli

import (
	"strings"
	"testing"
)

// What has no number is no point of the plot, and the value of another leaf is none, either.
func TestAlarmTest(t *testing.T) {
	f := newFake(t, map[string]string{
		"POST /v2/query/alarms": `[{"alarm_id": "1", "name": "a"}]`,
		"POST /v2/test": `{"steps": [{"at": "t1", "state": "insufficient data", "values": []}, {"at": "t2", "state": "ok", "values": [null, 77]}, {"at": "t3", "state": "ok", "values": [5, null]}, {"at": "t4", "state": "alarm", "values": [9, 77]}],
			"transitions": [{"at": "t2", "previous": "insufficient data", "current": "ok", "reason": "why", "reason_data": {"most_recent": null}}]}`,
	})
	out, log, code := f.run(t, "alarm", "test", "a")
	if code != 0 || log != "" || !strings.Contains(out, "9.00 ┤") || strings.Contains(out, "77") || !strings.HasSuffix(out, ".ooA\nfrom t1 to t4; A alarm, o ok, . insufficient data\n\nTIME BEFORE STATE REASON\nt2 insufficient data ok why") {
		t.Errorf("code %d\n%s\n%s", code, out, log)
	}
	f.answers["POST /v2/test"] = `{"steps": [{"at": "t1", "state": "ok", "values": [null]}], "transitions": []}`
	if out, log, code := f.run(t, "alarm", "test", "a"); code != 0 || out != "o\nfrom t1 to t1; A alarm, o ok, . insufficient data\n\nIt would not have changed its state." {
		t.Errorf("code %d\n%s\n%s", code, out, log)
	}
}

// Where there are no data it says so.
func TestAlarmTestWithoutData(t *testing.T) {
	f := newFake(t, map[string]string{
		"POST /v2/query/alarms": `[{"alarm_id": "1", "name": "a"}]`,
		"POST /v2/test":         `{"steps": [{"at": "t1", "state": "insufficient data", "values": [null]}], "transitions": []}`,
	})
	if out, _, code := f.run(t, "alarm", "test", "a"); code != 0 || !strings.Contains(out, "There were no data for its rule") {
		t.Errorf("code %d\n%s", code, out)
	}
}

// A list that is cut says so.
func TestAlarmListCut(t *testing.T) {
	f := newFake(t, map[string]string{"POST /v2/query/alarms": `[{"alarm_id": "1", "name": "a"}, {"alarm_id": "2", "name": "b"}]`})
	for limit, cut := range map[string]bool{"1": true, "2": false} {
		out, log, code := f.run(t, "alarm", "list", "--limit", limit)
		if code != 0 || cut != strings.Contains(log, "the first 1 by name") || cut == strings.Contains(out, "\n2 b") || !strings.Contains(out, "\n1 a") {
			t.Errorf("code %d\n%s\n%s", code, out, log)
		}
	}
}
