package config

import sdkconfig "github.com/nephoscope/nepho/sdk/config"

// Redacted returns the effective configuration as TOML: all files as one, the
// host's defaults filled in, variables expanded, secrets as "***". Call Check
// before, then it knows which of the plugins' options are secret; the values of
// keys that look like secrets are hidden in any case.
func (c *Config) Redacted() string {
	root := sdkconfig.NewTable("")
	root.Set("agent", sdkconfig.NewTableValue(withoutEmpty(sdkconfig.FromStruct(c.Agent))))
	for _, kind := range Kinds() {
		plugins := sdkconfig.NewTable(kind)
		for _, i := range c.Instances {
			if i.Kind != kind {
				continue
			}
			list := plugins.Get(i.Plugin)
			if list == nil {
				list = sdkconfig.NewList()
				plugins.Set(i.Plugin, list)
			}
			list.List = append(list.List, sdkconfig.NewTableValue(i.effective()))
		}
		if plugins.Len() > 0 {
			root.Set(kind, sdkconfig.NewTableValue(plugins))
		}
	}
	pipelines := sdkconfig.NewList()
	for _, p := range c.Pipelines {
		pipelines.List = append(pipelines.List, sdkconfig.NewTableValue(withoutEmpty(sdkconfig.FromStruct(p))))
	}
	if len(pipelines.List) > 0 {
		root.Set("pipeline", pipelines)
	}
	return root.Text()
}

// effective is the table of an instance with the host's options filled in.
func (i *Instance) effective() *sdkconfig.Table {
	t := sdkconfig.NewTable("")
	for _, group := range i.groups() {
		for k, v := range withoutEmpty(sdkconfig.FromStruct(group)).All() {
			t.Set(k, v)
		}
	}
	for k, v := range i.Options.All() {
		t.Set(k, v)
	}
	return t
}

// withoutEmpty drops options that say nothing, for a text that can be read.
func withoutEmpty(t *sdkconfig.Table) *sdkconfig.Table {
	for _, k := range t.Keys() {
		v := t.Get(k)
		if v.Kind == sdkconfig.KindTable && v.Table.Len() == 0 || v.Kind == sdkconfig.KindList && len(v.List) == 0 ||
			v.Kind == sdkconfig.KindString && v.Str == "" && k != "listen" {
			t.Delete(k)
		}
	}
	return t
}
