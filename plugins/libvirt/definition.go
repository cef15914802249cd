package libvirt

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// novaSpace begins the XML namespaces of nova's metadata; versions follow.
const novaSpace = "http://openstack.org/xmlns/libvirt/nova/"

// definition is what of a domain's XML is of use here.
type definition struct {
	Name   string       `xml:"name"`
	OSType definitionOS `xml:"os"`
	VCPU   struct {
		Number  quantity `xml:",chardata"`
		Current quantity `xml:"current,attr"`
	} `xml:"vcpu"`
	Nova  []nova           `xml:"metadata>instance"`
	Disks []definitionDisk `xml:"devices>disk"`
	NICs  []definitionNIC  `xml:"devices>interface"`
}

type definitionOS struct {
	Type struct {
		Name string `xml:",chardata"`
		Arch string `xml:"arch,attr"`
	} `xml:"type"`
}

type definitionDisk struct {
	Source *struct{} `xml:"source"`
	Target struct {
		Dev string `xml:"dev,attr"`
	} `xml:"target"`
}

type definitionNIC struct {
	MAC struct {
		Address string `xml:"address,attr"`
	} `xml:"mac"`
	Source struct {
		Bridge string `xml:"bridge,attr"`
	} `xml:"source"`
	Target struct {
		Dev string `xml:"dev,attr"`
	} `xml:"target"`
	VirtualPort struct {
		Parameters struct {
			InterfaceID string `xml:"interfaceid,attr"`
		} `xml:"parameters"`
	} `xml:"virtualport"`
	Filter struct {
		Name       string `xml:"filter,attr"`
		Parameters []struct {
			Name  string `xml:"name,attr"`
			Value string `xml:"value,attr"`
		} `xml:"parameter"`
	} `xml:"filterref"`
}

// nova is what OpenStack's compute service writes about its instance.
type nova struct {
	XMLName xml.Name
	Name    string `xml:"name"`
	Flavor  struct {
		Name      string   `xml:"name,attr"`
		ID        string   `xml:"id,attr"`
		Memory    quantity `xml:"memory"`
		Disk      quantity `xml:"disk"`
		Swap      quantity `xml:"swap"`
		Ephemeral quantity `xml:"ephemeral"`
		VCPUs     quantity `xml:"vcpus"`
	} `xml:"flavor"`
	Owner struct {
		User    identity `xml:"user"`
		Project identity `xml:"project"`
	} `xml:"owner"`
	Root struct {
		Type string `xml:"type,attr"`
		UUID string `xml:"uuid,attr"`
	} `xml:"root"`
}

type identity struct {
	UUID string `xml:"uuid,attr"`
	Name string `xml:",chardata"`
}

// quantity is a number that is 0 where it cannot be read: one odd value in
// metadata must not cost the rest.
type quantity int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (q *quantity) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err == nil && n >= 0 {
		*q = quantity(n)
	}
	return nil
}

// parseDefinition reads a domain's XML.
func parseDefinition(text []byte) (*definition, error) {
	d := new(definition)
	if err := xml.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("cannot read the domain's XML: %w", err)
	}
	return d, nil
}

// nova gives nova's metadata; nil where the domain is not nova's.
func (d *definition) nova() *nova {
	for i := range d.Nova {
		if strings.HasPrefix(d.Nova[i].XMLName.Space, novaSpace) {
			return &d.Nova[i]
		}
	}
	return nil
}

// vcpus gives the number of vCPUs that are plugged in.
func (d *definition) vcpus() int64 {
	if d.VCPU.Current > 0 {
		return int64(d.VCPU.Current)
	}
	return int64(d.VCPU.Number)
}
