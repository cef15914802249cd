package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// parsed is the description of the API, with a compiler of its schemas.
var parsed = sync.OnceValue(func() (p struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
}) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(description))
	if err != nil {
		panic(err)
	}
	p.doc = v.(map[string]any)
	p.compiler = jsonschema.NewCompiler()
	p.compiler.AssertFormat()
	if err := p.compiler.AddResource("openapi.json", v); err != nil {
		panic(err)
	}
	return p
})

// compiling is held while schemas are compiled, which is for one at a time.
var compiling sync.Mutex

// compile is a schema of the description.
func compile(pointer string) (*jsonschema.Schema, error) {
	p := parsed()
	compiling.Lock()
	defer compiling.Unlock()
	return p.compiler.Compile("openapi.json" + pointer)
}

// at is a part of the description by its keys; references are followed.
func at(v any, keys ...string) (any, string) {
	pointer := "#"
	for _, key := range append(keys, "") {
		if o, ok := v.(map[string]any); ok {
			if to, ok := o["$ref"].(string); ok {
				pointer = to
				v = any(parsed().doc)
				for part := range strings.SplitSeq(strings.TrimPrefix(to, "#/"), "/") {
					v = v.(map[string]any)[part]
				}
			}
		}
		if key == "" {
			break
		}
		o, _ := v.(map[string]any)
		v = o[key]
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(key)
	}
	return v, pointer
}

// pathOf is the path in the description of a route's pattern.
func pathOf(pattern string) string { return strings.TrimSuffix(pattern, "{$}") }

func TestEveryRouteIsDescribed(t *testing.T) {
	s := New(Options{})
	routed := map[string]bool{}
	for pattern, route := range s.routed {
		for method, op := range route.methods {
			if method == http.MethodHead {
				continue
			}
			name := strings.ToLower(method) + " " + pathOf(pattern)
			routed[name] = true
			described, _ := at(parsed().doc, "paths", pathOf(pattern), strings.ToLower(method))
			if described == nil {
				t.Errorf("%s is not described", name)
				continue
			}
			security, has := described.(map[string]any)["security"]
			if isPublic := has && len(security.([]any)) == 0; isPublic != op.public {
				t.Errorf("%s: described as public: %v, and is: %v", name, isPublic, op.public)
			}
			// Each wildcard of the path is a parameter, and vice versa.
			var names []string
			parameters, _ := described.(map[string]any)["parameters"].([]any)
			for _, p := range parameters {
				p, _ := at(p)
				if o := p.(map[string]any); o["in"] == "path" {
					names = append(names, "{"+o["name"].(string)+"}")
				}
			}
			var want []string
			for part := range strings.SplitSeq(pathOf(pattern), "/") {
				if strings.HasPrefix(part, "{") {
					want = append(want, part)
				}
			}
			if !slices.Equal(names, want) {
				t.Errorf("%s: parameters %v are described, the path has %v", name, names, want)
			}
		}
	}
	ids := map[any]bool{}
	paths, _ := at(parsed().doc, "paths")
	for path, methods := range paths.(map[string]any) {
		for method, described := range methods.(map[string]any) {
			if !routed[method+" "+path] {
				t.Errorf("%s %s is described, and not there", method, path)
			}
			id := described.(map[string]any)["operationId"]
			if ids[id] || id == nil {
				t.Errorf("%s %s: operationId %v is not its own", method, path, id)
			}
			ids[id] = true
		}
	}
	if w := ask(s, "GET", "/v1/openapi.json"); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), description) {
		t.Errorf("the description is answered with %d", w.Code)
	}
}

func TestEverySchemaCompiles(t *testing.T) {
	schemas, _ := at(parsed().doc, "components", "schemas")
	for _, name := range slices.Sorted(maps.Keys(schemas.(map[string]any))) {
		if _, err := compile("#/components/schemas/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// checkAnswer compares an answer with what the description says of the operation.
func checkAnswer(s *Server, r *http.Request, w *httptest.ResponseRecorder) error {
	inner := *r
	var inside bool
	if inner.URL, inside = s.inside(r); !inside || r.Method == http.MethodOptions || w.Code == http.StatusMethodNotAllowed {
		return nil
	}
	_, pattern := s.mux.Handler(&inner)
	if pattern == "/" || pattern == "" {
		return nil // nothing is at this path
	}
	method := strings.ToLower(r.Method)
	if method == "head" {
		method = "get"
	}
	responses, _ := at(parsed().doc, "paths", pathOf(pattern), method, "responses")
	code := fmt.Sprint(w.Code)
	if o, _ := responses.(map[string]any); o[code] == nil {
		code = code[:1] + "XX"
	}
	keys := []string{"paths", pathOf(pattern), method, "responses", code}
	response, _ := at(parsed().doc, keys...)
	if response == nil {
		return fmt.Errorf("the status is not described")
	}
	headers, _ := response.(map[string]any)["headers"].(map[string]any)
	for name, h := range headers {
		h, _ := at(h)
		if required, _ := h.(map[string]any)["required"].(bool); required && w.Header().Get(name) == "" {
			return fmt.Errorf("there is no header %s", name)
		}
	}
	content, _ := response.(map[string]any)["content"].(map[string]any)
	if content == nil {
		if w.Body.Len() > 0 {
			return fmt.Errorf("a body is not described")
		}
		return nil
	}
	if w.Code == http.StatusAccepted && w.Body.Len() == 0 {
		return nil // there is nothing to tell
	}
	media, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
	if _, ok := content[media]; !ok {
		return fmt.Errorf("the content type %q is not described", media)
	}
	if media != mediaJSON || method == "head" {
		return nil
	}
	schema, pointer := at(response, "content", media, "schema")
	if schema == nil {
		return nil
	}
	if _, base := at(parsed().doc, keys...); !strings.HasPrefix(pointer, "#/components/schemas/") {
		pointer = base + strings.TrimPrefix(pointer, "#")
	}
	compiled, err := compile(pointer)
	if err != nil {
		return err
	}
	var body any
	d := json.NewDecoder(w.Body)
	text := slices.Clone(w.Body.Bytes())
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		return err
	}
	w.Body = bytes.NewBuffer(text)
	return compiled.Validate(body)
}

func TestAnswersThatAreNotDescribedAreFound(t *testing.T) {
	s := New(Options{})
	for body, want := range map[string]string{
		`{"aggregation_methods": ["mean"]}`: "", `{"aggregation_methods": ["avg"]}`: "pattern", `{}`: "missing", `{"aggregation_methods": [], "x": 1}`: "additional", `x`: "invalid",
	} {
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", mediaJSON)
		w.Write([]byte(body))
		err := checkAnswer(s, httptest.NewRequest("GET", "/v1/capabilities", nil), w)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
	w := ask(s, "GET", "/v1/capabilities", "Accept", "text/plain")
	if err := checkAnswer(s, httptest.NewRequest("GET", "/v1/capabilities", nil), w); err != nil {
		t.Error(err)
	}
}
