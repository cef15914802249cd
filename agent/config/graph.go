package config

import (
	"fmt"
	"slices"
	"strings"
)

// checkPipelines checks the names in pipelines and where they lead.
func (c *Config) checkPipelines() []Problem {
	var problems []Problem
	for _, p := range c.Pipelines {
		for _, r := range p.roles() {
			problems = append(problems, r.check(c)...)
		}
	}
	return append(problems, c.cycles()...)
}

// unused reports instances that nothing flows through. An alarm may stand alone:
// it asks a storage.
func (c *Config) unused() []Problem {
	used := make(map[string]bool)
	for _, p := range c.Pipelines {
		for _, r := range p.roles() {
			for _, name := range r.names {
				used[name] = true
			}
		}
	}
	if len(c.Pipelines) == 0 {
		// The implicit pipeline has all but transformers, if it leads anywhere.
		for _, i := range c.Instances {
			used[i.Name] = i.Kind != Transformer && (!IsSource(i.Kind) || len(c.names(IsSink)) > 0)
		}
	}
	var problems []Problem
	for _, i := range c.Instances {
		hint := "add it to the publishers of a [[pipeline]]"
		switch {
		case used[i.Name], i.Kind == Alarm:
			continue
		case i.Kind == Transformer:
			hint = "add it to the transformers of a [[pipeline]]"
		case len(c.Pipelines) == 0:
			hint = "there is no publisher, storage or alarm"
		case IsSource(i.Kind):
			hint = "add it to the sources of a [[pipeline]]"
		}
		message := fmt.Sprintf("%q is not used by any pipeline", i.Name)
		problems = append(problems, Problem{Pos: i.Pos, Key: i.Kind + "." + i.Plugin, Message: message, Hint: hint})
	}
	return problems
}

// cycles reports each way on which the events of an alarm come back to it.
func (c *Config) cycles() []Problem {
	var problems []Problem
	reported := make(map[*Pipeline]bool)
	for _, i := range c.Instances {
		if i.Kind != Alarm {
			continue
		}
		way := c.wayBack(i.Name, i.Name, make(map[string]bool))
		if way == nil || reported[way[0].pipeline] {
			continue
		}
		var b strings.Builder
		b.WriteString(i.Name)
		for _, s := range way {
			reported[s.pipeline] = true
			fmt.Fprintf(&b, " -> pipeline %q -> %s", s.pipeline.Name, s.to)
		}
		last := way[len(way)-1]
		problems = append(problems, Problem{
			Pos: last.pipeline.pos("publishers", slices.Index(last.pipeline.Publishers, last.to)), Key: "pipeline.publishers",
			Message: fmt.Sprintf("the events of alarm %q come back to it: %s", i.Name, b.String()),
		})
	}
	return problems
}

// step is a pipeline and one of the instances that it leads to.
type step struct {
	pipeline *Pipeline
	to       string
}

// wayBack searches the pipelines for a way between two instances. Only alarms
// lead on, being both sink and source.
func (c *Config) wayBack(from, to string, visited map[string]bool) []step {
	visited[from] = true
	for _, p := range c.Pipelines {
		if !slices.Contains(p.Sources, from) {
			continue
		}
		for _, next := range p.Publishers {
			if next == to {
				return []step{{p, next}}
			}
			if visited[next] {
				continue
			}
			if way := c.wayBack(next, to, visited); way != nil {
				return append([]step{{p, next}}, way...)
			}
		}
	}
	return nil
}
