package amqp

import (
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nephoscope/nepho/sdk"
)

// maxKey is the longest routing key that AMQP can carry.
const maxKey = 255

// template is a routing key with placeholders: literal text at even indexes,
// names at odd ones.
type template []string

func placeholders() []string {
	return []string{"partition", "resource_id", "project_id", "source", "meter", "type", "instance", "host"}
}

func parseTemplate(s string) (template, error) {
	var t template
	for {
		before, rest, found := strings.Cut(s, "{")
		if strings.Contains(before, "}") {
			return nil, fmt.Errorf("there is a } without its { in %q", before)
		}
		t = append(t, before)
		if !found {
			return t, nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || !slices.Contains(placeholders(), name) {
			return nil, fmt.Errorf("unknown placeholder {%s}: there are {%s}", name, strings.Join(placeholders(), "}, {"))
		}
		t = append(t, name)
		s = after
	}
}

func (t template) uses(names ...string) bool {
	for i := 1; i < len(t); i += 2 {
		if slices.Contains(names, t[i]) {
			return true
		}
	}
	return false
}

// subject is what a routing key can depend on.
type subject struct {
	resource, project, source, meter, typ string
}

// expand makes the routing key.
func (p *publisher) expand(t template, of subject) string {
	var key strings.Builder
	for i, part := range t {
		if i%2 == 1 {
			switch part {
			case "partition":
				part = partition(of.resource, p.Partitions)
			case "resource_id":
				part = of.resource
			case "project_id":
				part = of.project
			case "source":
				part = of.source
			case "meter":
				part = of.meter
			case "type":
				part = of.typ
			case "instance":
				part = p.instance
			case "host":
				part = p.hostname
			}
		}
		key.WriteString(part)
	}
	return shorten(key.String())
}

func partition(resource string, n int) string {
	h := fnv.New32a()
	h.Write([]byte(resource))
	return strconv.Itoa(int(h.Sum32() % uint32(n)))
}

// shorten makes a key that fits, and that is still the same for the same key only.
func shorten(key string) string {
	if len(key) <= maxKey {
		return key
	}
	h := fnv.New128a()
	h.Write([]byte(key))
	sum := fmt.Sprintf(".%x", h.Sum(nil))
	return strings.ToValidUTF8(key[:maxKey-len(sum)], "") + sum
}

// eventSubject tells what an event is about. Events of a resource name it in a
// trait; one that doesn't stands for itself.
func eventSubject(e sdk.Event) subject {
	of := subject{resource: e.MessageID, meter: e.EventType, typ: "event"}
	for _, t := range e.Traits {
		text, _ := t.Value.(string)
		switch {
		case text == "":
		case t.Name == "resource_id" || t.Name == "instance_id" && of.resource == e.MessageID:
			of.resource = text
		case t.Name == "project_id":
			of.project = text
		}
	}
	return of
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
