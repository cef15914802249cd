package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	sdkconfig "github.com/nephoscope/nepho/sdk/config"
)

// Options say what Load reads.
type Options struct {
	// File is the main file.
	File string
	// Env looks up variables for ${NAME}; nil means the process's environment.
	Env func(string) (string, bool)
	// ReadFile reads the configuration and the files of secrets; nil means os.ReadFile.
	ReadFile func(string) ([]byte, error)
	// Glob lists the files of include; nil means filepath.Glob.
	Glob func(string) ([]string, error)
}

// Load reads the main file and the files it includes, sorted by name, and
// returns the configuration with all problems that show without asking a plugin,
// sorted by file and line. The configuration is never nil, and as complete as
// the problems allow, so that Check can add its own.
func Load(o Options) (*Config, []Problem) {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.ReadFile == nil {
		o.ReadFile = os.ReadFile
	}
	if o.Glob == nil {
		o.Glob = filepath.Glob
	}
	l := &loader{
		options: o, config: &Config{byName: make(map[string]*Instance)},
		agent: sdkconfig.NewTable("agent"), reserved: reserved(), names: make(map[reflect.Type][]string),
	}
	l.agent.Pos = Pos{File: o.File, Line: 1}

	tables := []*sdkconfig.Table{l.file(o.File)}
	for _, name := range l.included(tables[0]) {
		tables = append(tables, l.file(name))
	}
	for _, t := range tables {
		l.agentTable(t, t == tables[0])
	}
	l.decodeAgent()
	for _, t := range tables {
		l.instances(t)
	}
	for _, t := range tables {
		l.pipelines(t)
	}
	l.config.unread = l.unread
	l.problems = append(l.problems, l.config.checkPipelines()...)
	if !l.unread && !l.broken {
		l.problems = append(l.problems, l.config.unused()...)
	}
	if len(l.config.Pipelines) == 0 {
		l.config.Implicit = true
		l.config.Pipelines = l.config.implicitPipelines()
	}
	sdkconfig.Sort(l.problems)
	return l.config, l.problems
}

// loader collects what the files say.
type loader struct {
	options  Options
	config   *Config
	agent    *sdkconfig.Table // merged from all files
	problems []Problem
	unread   bool // a file could not be read or parsed
	broken   bool // a pipeline could not be decoded

	reserved map[string][]string       // see the function of that name
	names    map[reflect.Type][]string // of a struct's options
}

func (l *loader) add(pos Pos, key, hint, format string, args ...any) {
	l.problems = append(l.problems, Problem{Pos: pos, Key: key, Hint: hint, Message: fmt.Sprintf(format, args...)})
}

// file reads one file; the table is never nil.
func (l *loader) file(name string) *sdkconfig.Table {
	l.config.Files = append(l.config.Files, name)
	text, err := l.options.ReadFile(name)
	if err != nil {
		l.unread = true
		l.add(Pos{File: name}, "", "", "cannot read the file: %v", reason(err))
		return sdkconfig.NewTable("")
	}
	table, problems := sdkconfig.Parse(name, text)
	l.unread = l.unread || len(problems) > 0
	l.problems = append(l.problems, problems...)
	l.problems = append(l.problems, table.Expand(l.options.Env, l.options.ReadFile)...)
	return table
}

// reason takes the operation and the path from an error of the file system: the
// problem names the file already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// included lists the files that the main file asks for, sorted by name and each
// once, without the main file itself.
func (l *loader) included(main *sdkconfig.Table) []string {
	patterns := []*sdkconfig.Value{sdkconfig.NewString("conf.d/*.toml")}
	if agent := main.Get("agent"); agent != nil && agent.Table.Get("include") != nil {
		patterns = agent.Table.Get("include").List
	}
	var files []string
	for i, p := range patterns {
		if p.Kind != sdkconfig.KindString { // decodeAgent reports it
			continue
		}
		pattern := p.Str
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(l.options.File), pattern)
		}
		key := fmt.Sprintf("agent.include[%d]", i)
		found, err := l.options.Glob(pattern)
		if err != nil {
			l.unread = true
			l.add(p.Pos, key, "", "pattern %q: %v", p.Str, err)
		}
		if len(found) == 0 && !l.readable(pattern) {
			l.unread = true
			l.add(p.Pos, key, "", "cannot read %s", pattern)
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	files = slices.Compact(files)
	return slices.DeleteFunc(files, func(f string) bool { return filepath.Clean(f) == filepath.Clean(l.options.File) })
}

// readable reports whether a pattern that found nothing may rightly have done so.
// Globbing keeps quiet about a folder that cannot be read, and about a plain
// name that is not there.
func (l *loader) readable(pattern string) bool {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return false
	}
	_, err := os.ReadDir(filepath.Dir(pattern))
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// agentTable merges the [agent] table of one file into that of all. Each option
// is set in one place only.
func (l *loader) agentTable(file *sdkconfig.Table, isMain bool) {
	v := file.Take("agent")
	if v == nil {
		return
	}
	if v.Kind != sdkconfig.KindTable {
		l.add(v.Pos, "agent", "write [agent]", "expected one table, got %s", article(v.Kind.String()))
		return
	}
	if l.agent.Len() == 0 || isMain {
		l.agent.Pos = v.Table.Pos
	}
	for key, value := range v.Table.All() {
		before := l.agent.Get(key)
		switch {
		case key == "include" && !isMain:
			l.add(value.Pos, "agent.include", "", "only the main file may include others")
		case before != nil:
			l.add(value.Pos, "agent."+key, "", "is already set at %s", before.Pos)
		default:
			l.agent.Set(key, value)
		}
	}
}

func (l *loader) decodeAgent() {
	a := &l.config.Agent
	l.problems = append(l.problems, l.agent.Decode(a)...)
	if a.Jitter >= a.Interval && a.Interval > 0 {
		l.add(place(l.agent, "jitter"), "agent.jitter", "", "must be shorter than the interval, which is %s", sdkconfig.FormatDuration(a.Interval))
	}
	if err := checkAddress(a.Listen); err != nil {
		l.add(place(l.agent, "listen"), "agent.listen", `write it as "127.0.0.1:8790", or "" for none`, "%v", err)
	}
}

// place returns the position of a key, of the table if it is not there.
func place(t *sdkconfig.Table, key string) Pos {
	if v := t.Get(key); v != nil {
		return v.Pos
	}
	return t.Pos
}
