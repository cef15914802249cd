package supervisor

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"
)

// bridged logs what a plugin prints and gives the lines without their times.
func logged(printed string) string {
	j := new(journal)
	log := slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(g []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(g) == 0 {
			return slog.Attr{}
		}
		return a
	}}))
	bridge(strings.NewReader(printed), log)
	return strings.TrimSpace(j.String())
}

func TestBridge(t *testing.T) {
	f := func(printed, want string) {
		t.Helper()
		if got := logged(printed); got != want {
			t.Errorf("%.100q is logged as\n%s\nwant\n%s", printed, got, want)
		}
	}
	f("", "")
	f("\n\n", "")
	f("plain", "level=INFO msg=plain")
	f("two\nlines\n", "level=INFO msg=two\nlevel=INFO msg=lines")
	f("dos\r\n", "level=INFO msg=dos")
	f(`{"@level":"warn","@message":"hello","@timestamp":"x","@module":"m","n":1}`, "level=WARN msg=hello n=1")
	f(`{"@level":"debug","@message":"d"}`, "level=DEBUG msg=d")
	f(`{"@level":"loud","@message":"d"}`, "level=INFO msg=d")
	f(`{"@level":3,"@message":"d"}`, "level=INFO msg=d")
	f(`{"@message":""}`, `level=INFO msg=""`)
	f(`{"@message":1}`, `level=INFO msg="{\"@message\":1}"`)
	f(`{"@message":null}`, `level=INFO msg="{\"@message\":null}"`)
	f(`{"@message":"a","b":{"c":[1]}}`, `level=INFO msg=a b=map[c:[1]]`)
	f(`{"message":"other JSON"}`, `level=INFO msg="{\"message\":\"other JSON\"}"`)
	f(`{`, `level=INFO msg={`)
	f(`{}`, `level=INFO msg={}`)
	f("\xff\xfe", "level=INFO msg=\"\uFFFD\"")
	f("panic: no\n\ngoroutine 1\n", "level=ERROR msg=\"panic: no\"\nlevel=ERROR msg=\"goroutine 1\"")
	f("fatal error: out of memory\nmore\n", "level=ERROR msg=\"fatal error: out of memory\"\nlevel=ERROR msg=more")
	f("\x1b[31mred", `level=INFO msg="\x1b[31mred"`)
	f(`{"@message":"a\nlevel=ERROR msg=forged","k\n=":"v\nv"}`, `level=INFO msg="a\nlevel=ERROR msg=forged" "k\n="="v\nv"`)

	// Lines that are too long are cut, and the next one is whole.
	long := strings.Repeat("x", 5*logLineBytes)
	f(long+"\nnext\n", "level=INFO msg="+long[:logLineBytes]+"\nlevel=INFO msg=next")
	f(long, "level=INFO msg="+long[:logLineBytes])
	f(`{"@message":"`+long+`"}`+"\nnext", fmt.Sprintf("level=INFO msg=%q\nlevel=INFO msg=next", (`{"@message":"` + long)[:logLineBytes]))
}

// Of a flood so many lines are logged as are useful; the others are counted, while
// it lasts as well as at its end.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read, write := io.Pipe()
		j := new(journal)
		done := make(chan struct{})
		go func() {
			defer close(done)
			bridge(read, j.logger())
		}()
		const seconds, each = 60, 1000
		for range seconds {
			fmt.Fprint(write, strings.Repeat("flood\n", each))
			time.Sleep(time.Second)
		}
		write.Close()
		<-done
		text := j.String()
		lines, reports := strings.Count(text, "msg=flood"), strings.Count(text, "logs too much")
		if lines < logBurst || lines > logBurst+seconds*logRate {
			t.Errorf("%d lines are logged", lines)
		}
		if reports < seconds/10 || reports > seconds/10+2 {
			t.Errorf("the others are told of %d times", reports)
		}
		left := 0
		for _, line := range strings.Split(text, "\n") {
			if _, n, has := strings.Cut(line, " lines="); has {
				var lines int
				fmt.Sscan(n, &lines)
				left += lines
			}
		}
		if lines+left != seconds*each {
			t.Errorf("%d lines are logged and %d left out of %d", lines, left, seconds*each)
		}
	})
}

// A reader that fails otherwise than by its end is told of.
func TestBridgeOfBrokenReader(t *testing.T) {
	j := new(journal)
	bridge(io.MultiReader(strings.NewReader("half a li"), brokenReader{}), j.logger())
	if s := j.String(); !strings.Contains(s, "half a li") || !strings.Contains(s, "cannot read the plugin's standard error") {
		t.Errorf("the log is %s", s)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Whatever a plugin prints, each line of the log is one line of text.
func FuzzBridge(f *testing.F) {
	for _, s := range []string{"a\nb", `{"@message":"x","@level":"error","a":[{}]}`, `{"@message":1}`, "\xff\x00\x1b", "panic: \n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, printed string) {
		text := logged(printed)
		if !utf8.ValidString(text) {
			t.Fatalf("not UTF-8: %q", text)
		}
		for _, line := range strings.Split(text, "\n") {
			// Delete is the one control character that slog passes on, and that does nothing.
			if line != "" && !strings.HasPrefix(line, "level=") || strings.ContainsFunc(strings.ReplaceAll(line, "\x7f", ""), unicode.IsControl) {
				t.Fatalf("%q is logged as %q", printed, text)
			}
		}
	})
}
