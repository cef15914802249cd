package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nephoscope/nepho/integration/parts"
)

// TestGnocchiClients sends requests that Aodh, Grafana's Gnocchi data source and
// CloudKitty were seen to make, or make by their source. Requests and answers are in
// testdata/clients_*.txt; with GNOCCHI_ENDPOINT in the environment they are asked of
// that server, such as a real Gnocchi that has not been asked them yet.
func TestGnocchiClients(t *testing.T) {
	t.Parallel()
	api := newGnocchiAPI(gnocchiServer(t, ""))
	api.play(t, "testdata/clients_setup.txt")
	for _, client := range []string{"aodh", "grafana", "cloudkitty"} {
		t.Run(client, func(t *testing.T) {
			api.play(t, "testdata/clients_"+client+".txt")
		})
	}
}

// gnocchiServer is the server that GNOCCHI_ENDPOINT names, or an agent's aggregator
// with further options.
func gnocchiServer(t *testing.T, options string) (url string) {
	t.Helper()
	if url := os.Getenv("GNOCCHI_ENDPOINT"); url != "" {
		return url
	}
	listen := fmt.Sprintf("127.0.0.1:%d", parts.FreePort(t))
	StartAgent(t, fmt.Sprintf("[[pollster.internal]]\n[[storage.aggregator]]\npath = '${DIR}/aggregator'\nlisten = '%s'\nauth = 'basic'\n%s", listen, options))
	return "http://" + listen
}

// gnocchiAPI asks a server as the user admin and compares its answers.
type gnocchiAPI struct {
	url   string
	saved map[string]string
}

func newGnocchiAPI(url string) *gnocchiAPI {
	return &gnocchiAPI{url, map[string]string{}}
}

// exchange is a request and what must be answered.
type exchange struct {
	at           string // file and line
	method, path string
	body         string
	status       string
	want         string      // see match; empty: not compared
	save         [][2]string // what is saved from the answer: name, path of keys
	header       http.Header
}

var (
	requestLine = regexp.MustCompile(`^(GET|POST|PUT|PATCH|DELETE|OPTIONS) (/.*)$`)
	statusLine  = regexp.MustCompile(`^[1-5]\d\d$`)
)

// readExchanges reads a file of exchanges. Each is
//
//	METHOD PATH
//	the body, if any
//	the status
//	what the answer must be, if it is compared: see match; or ~ and a regular
//	expression that it must have a match of
//	= NAME KEY.KEY...   saves something of the answer; $NAME stands for it from then on
//
// A line "@ NAME: VALUE" sets a header of the requests below it, and "#" begins a comment.
func readExchanges(t *testing.T, file string) (all []exchange) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	var e *exchange
	for number, line := range strings.Split(string(text), "\n") {
		switch line = strings.TrimSpace(line); {
		case line == "" || line[0] == '#':
		case line[0] == '@':
			name, value, _ := strings.Cut(line[1:], ":")
			header = header.Clone()
			header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
		case requestLine.MatchString(line):
			parts := requestLine.FindStringSubmatch(line)
			all = append(all, exchange{at: fmt.Sprintf("%s:%d", file, number+1), method: parts[1], path: parts[2], header: header})
			e = &all[len(all)-1]
		case e == nil:
			t.Fatalf("%s:%d stands before the first request: %s", file, number+1, line)
		case line[0] == '=':
			name, keys, _ := strings.Cut(strings.TrimSpace(line[1:]), " ")
			e.save = append(e.save, [2]string{name, keys})
		case statusLine.MatchString(line) && e.status == "":
			e.status = line
		case e.status == "":
			e.body += line
		default:
			e.want += line
		}
	}
	return all
}

// play does the exchanges of a file in turn.
func (a *gnocchiAPI) play(t *testing.T, file string) {
	t.Helper()
	for _, e := range readExchanges(t, file) {
		where := fmt.Sprintf("%s: %s %s", e.at, e.method, a.expand(e.path))
		status, answer := a.ask(t, e)
		if status != e.status {
			t.Errorf("%s: status %s, not %s: %s", where, status, e.status, answer)
			continue
		}
		if pattern, ok := strings.CutPrefix(e.want, "~ "); ok {
			if !regexp.MustCompile(pattern).Match(answer) {
				t.Errorf("%s: no %q in the answer: %s", where, pattern, answer)
			}
			continue
		}
		var got, want any
		if e.want != "" || e.save != nil {
			if err := json.Unmarshal(answer, &got); err != nil {
				t.Errorf("%s: the answer is no JSON, %v: %s", where, err, answer)
				continue
			}
		}
		if e.want != "" {
			if err := json.Unmarshal([]byte(a.expand(e.want)), &want); err != nil {
				t.Fatalf("%s: %v: %s", e.at, err, a.expand(e.want))
			}
			if err := match("answer", got, want); err != nil {
				t.Errorf("%s: %v\nin %s", where, err, answer)
			}
		}
		for _, save := range e.save {
			value := got
			for _, key := range strings.Split(save[1], ".") {
				object, _ := value.(map[string]any)
				value = object[strings.ReplaceAll(key, "/", ".")]
			}
			if value == nil {
				t.Fatalf("%s: no %s in %s", where, save[1], answer)
			}
			a.saved[save[0]] = fmt.Sprint(value)
		}
	}
}

func (a *gnocchiAPI) ask(t *testing.T, e exchange) (status string, answer []byte) {
	t.Helper()
	request, err := http.NewRequest(e.method, a.url+a.expand(e.path), bytes.NewReader([]byte(a.expand(e.body))))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = e.header.Clone()
	request.SetBasicAuth("admin", "")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(response.StatusCode), answer
}

func (a *gnocchiAPI) expand(s string) string {
	return os.Expand(s, func(name string) string {
		if v, ok := a.saved[name]; ok {
			return v
		}
		return "$" + name
	})
}

// match compares an answer with what it must be: the same JSON, but
//
//	"~..."                      a string that the regular expression matches as a whole
//	{"...": true}               further keys may be there
//	[..., "..."]                further elements may be there
//	["in any order", ...]       the elements in any order
func match(at string, got, want any) error {
	switch want := want.(type) {
	case string:
		if pattern, ok := strings.CutPrefix(want, "~"); ok {
			if s, ok := got.(string); !ok || !regexp.MustCompile("^(?s:"+pattern+")$").MatchString(s) {
				return fmt.Errorf("%s is %#v, which ~%s does not match", at, got, pattern)
			}
			return nil
		}
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %#v, not an object", at, got)
		}
		for key, value := range want {
			if key == "..." {
				continue
			}
			if _, ok := object[key]; !ok {
				return fmt.Errorf("%s has no %s", at, key)
			}
			if err := match(at+"."+key, object[key], value); err != nil {
				return err
			}
		}
		for key := range object {
			if _, ok := want[key]; !ok && want["..."] == nil {
				return fmt.Errorf("%s has %s as well", at, key)
			}
		}
		return nil
	case []any:
		list, ok := got.([]any)
		if !ok {
			return fmt.Errorf("%s is %#v, not a list", at, got)
		}
		return matchList(at, list, want)
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s is %#v, not %#v", at, got, want)
	}
	return nil
}

func matchList(at string, got, want []any) error {
	anyOrder := len(want) > 0 && want[0] == "in any order"
	if anyOrder {
		want = want[1:]
	}
	further := len(want) > 0 && want[len(want)-1] == "..."
	if further {
		want = want[:len(want)-1]
	}
	if len(got) < len(want) || !further && len(got) > len(want) {
		return fmt.Errorf("%s has %d elements, not %d", at, len(got), len(want))
	}
	for i := range want {
		if anyOrder {
			if !slices.ContainsFunc(got, func(element any) bool { return match(at, element, want[i]) == nil }) {
				return fmt.Errorf("%s has no element like %v", at, want[i])
			}
		} else if err := match(fmt.Sprintf("%s[%d]", at, i), got[i], want[i]); err != nil {
			return err
		}
	}
	return nil
}
