package config

import (
	"fmt"
	"strings"
	"testing"
)

// many is a configuration of 200 instances in 20 pipelines.
func many() files {
	var b strings.Builder
	for i := range 180 {
		fmt.Fprintf(&b, "[[pollster.libvirt]]\nname = 'l%d'\nuri = 'qemu+tcp://host%d/system'\ninterval = '10s'\nmeters = ['cpu', 'memory.*']\n", i, i)
	}
	for i := range 20 {
		fmt.Fprintf(&b, "[[publisher.influxdb]]\nname = 'i%d'\nurl = 'http://${HOST}:%d'\n", i, 8000+i)
		fmt.Fprintf(&b, "[[pipeline]]\nname = 'p%d'\nmeters = ['cpu']\npublishers = ['i%d']\nsources = [", i, i)
		for j := range 9 {
			fmt.Fprintf(&b, "'l%d', ", i*9+j)
		}
		b.WriteString("]\n")
	}
	return files{"/nepho.toml": b.String()}
}

func BenchmarkLoadAndCheck(b *testing.B) {
	options := many().options()
	for b.Loop() {
		c, problems := Load(options)
		problems = append(problems, c.Check(catalog{})...)
		if len(problems) > 0 || len(c.Instances) != 200 {
			b.Fatal(len(c.Instances), problems)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(sample)
	f.Add("[[pollster]]\n[pollster.x.y]\npipeline = [1]\n[[publisher.a]]\nname = '${X}'\nmeters = ['[']")
	f.Fuzz(func(t *testing.T, text string) {
		c, problems := Load(files{"/nepho.toml": text}.options())
		for _, p := range append(problems, c.Check(catalog{})...) {
			if p.Message == "" || p.Pos.File == "" {
				t.Fatalf("bad problem %+v", p)
			}
		}
		if !c.Diff(c).None() {
			t.Fatal("differs from itself")
		}
		c.Redacted()
	})
}
