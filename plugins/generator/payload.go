package generator

import (
	"fmt"
	"hash/fnv"

	"github.com/nephoscope/nepho/sdk"
)

// resources makes n resources whose ids depend on the instance's name alone.
func resources(payload, instance string, n, entries int) []sdk.Resource {
	h := fnv.New64a()
	h.Write([]byte(instance))
	seed := h.Sum64()
	all := make([]sdk.Resource, n)
	for i := range all {
		if payload == "light" {
			all[i] = light(seed, i, entries)
		} else {
			all[i] = ceilometer(seed, i, entries)
		}
	}
	return all
}

// ceilometer makes a resource such as Ceilometer's compute agent samples.
func ceilometer(seed uint64, i, entries int) sdk.Resource {
	id := fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(seed), uint16(seed>>32), seed>>48&0xfff, seed>>52, i)
	return sdk.Resource{
		ID: id, Source: "openstack",
		ProjectID: fmt.Sprintf("%016x%016x", seed, i/10), UserID: fmt.Sprintf("%016x%016x", ^seed, i/5),
		Metadata: metadata(entries, []entry{
			{"display_name", fmt.Sprintf("vm-%06d", i)},
			{"host", fmt.Sprintf("compute-%04d", i/50)},
			{"instance_type", "m1.small"},
			{"status", "active"},
			{"vcpus", 1 + i%8},
			{"memory_mb", 512 << (i % 6)},
		}),
	}
}

// light makes a resource such as a metrics agent's: a host with some tags.
func light(seed uint64, i, entries int) sdk.Resource {
	host := fmt.Sprintf("host-%06d.%08x.example.com", i, uint32(seed))
	return sdk.Resource{
		ID: host,
		Metadata: metadata(entries, []entry{
			{"host", host},
			{"datacenter", fmt.Sprintf("datacenter-%02d", i/1000)},
			{"rack", fmt.Sprintf("rack-%04d", i/40)},
			{"os", "Debian GNU/Linux 12"},
			{"environment", "production"},
		}),
	}
}

type entry struct {
	key   string
	value any
}

// metadata takes the first n entries, and makes up what is missing.
func metadata(n int, known []entry) sdk.Metadata {
	m := make(sdk.Metadata, n)
	for i := range n {
		if i < len(known) {
			m[known[i].key] = known[i].value
		} else {
			m[fmt.Sprintf("key_%03d", i)] = fmt.Sprintf("value of entry %03d", i)
		}
	}
	return m
}
