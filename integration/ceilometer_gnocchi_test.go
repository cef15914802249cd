package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// ceilometer is Debian's Ceilometer, which publishes to Gnocchi what it is given.
type ceilometer struct {
	in  io.Writer
	out *bufio.Scanner
}

func startCeilometer(t *testing.T) *ceilometer {
	t.Helper()
	// Debian's own Python: another one in PATH would not find its modules.
	cmd := exec.Command("/usr/bin/python3", "testdata/ceilometer_publish.py")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install python3-ceilometer", err)
	}
	t.Cleanup(func() {
		in.Close()
		kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer kill.Stop()
		cmd.Wait()
	})
	c := &ceilometer{in, bufio.NewScanner(out)}
	c.out.Buffer(nil, 1<<20)
	return c
}

// begin has it publish to a server from now on.
func (c *ceilometer) begin(t *testing.T, url string) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "ceilometer.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, "[service_credentials]\nauth_type = gnocchi-basic\nuser = admin\nendpoint = %s\n", url), 0o644); err != nil {
		t.Fatal(err)
	}
	c.do(t, "begin", config)
}

// published is what a command of ceilometer_publish.py did.
type published struct {
	Requests []string
	Warnings []string
}

func (c *ceilometer) do(t *testing.T, command string, with any) published {
	t.Helper()
	line, err := json.Marshal(map[string]any{"do": command, "with": with})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(c.in, "%s\n", line); err != nil {
		t.Fatal(err)
	}
	if !c.out.Scan() {
		t.Fatalf("Ceilometer ended on %s: %v", line, c.out.Err())
	}
	var p published
	if err := json.Unmarshal(c.out.Bytes(), &p); err != nil {
		t.Fatalf("%s: %v", c.out.Text(), err)
	}
	return p
}

// requested compares the requests, in any order, with regular expressions of them,
// and allows no warnings.
func (p published) requested(t *testing.T, want ...string) {
	t.Helper()
	if len(p.Warnings) > 0 {
		t.Errorf("Ceilometer warns: %s", strings.Join(p.Warnings, "\n"))
	}
	left := slices.Clone(p.Requests)
	for _, w := range want {
		i := slices.IndexFunc(left, regexp.MustCompile("^"+w+"$").MatchString)
		if i < 0 {
			t.Errorf("no request was %s:\n%s", w, strings.Join(p.Requests, "\n"))
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		t.Errorf("these requests were sent as well:\n%s", strings.Join(left, "\n"))
	}
}

// What Ceilometer's requests are, and how they are answered.
const (
	unknownResources = `POST /v1/batch/resources/metrics/measures\?create_metrics=True 400`
	measuresAccepted = `POST /v1/batch/resources/metrics/measures\?create_metrics=True 202`
)

// polled is a sample of a pollster, with the fields of Ceilometer's class.
type polled struct {
	Name     string         `json:"name"`
	Type     string         `json:"type"`
	Unit     string         `json:"unit"`
	Volume   float64        `json:"volume"`
	User     *string        `json:"user_id"`
	Project  string         `json:"project_id"`
	Resource string         `json:"resource_id"`
	Time     string         `json:"timestamp"`
	Metadata map[string]any `json:"resource_metadata"`
}

// notified is a notification as the notification agent hands it on.
type notified struct {
	Type      string            `json:"event_type"`
	Publisher string            `json:"publisher_id"`
	Payload   map[string]any    `json:"payload"`
	Metadata  map[string]string `json:"metadata"`
	Context   map[string]any    `json:"ctxt"`
}

func notification(eventType, publisher, time string, payload map[string]any) notified {
	return notified{eventType, publisher, payload, map[string]string{"message_id": "e0b1f1b0-0f6d-4c0c-8c8f-6d6f0e5f9a10", "timestamp": time}, map[string]any{}}
}

// The instances, and who owns all.
const (
	web       = "20000000-1f2e-4d6a-8a41-000000000001"
	db        = "20000000-1f2e-4d6a-8a41-000000000002"
	webNIC    = "instance-00000001-" + web + "-tap0a1b2c3d-4e"
	webDisk   = web + "-vda"
	image     = "30000000-1f2e-4d6a-8a41-000000000001"
	goodImage = "30000000-1f2e-4d6a-8a41-000000000002"
	badImage  = "30000000-1f2e-4d6a-8a41-000000000003" // lacks attributes
	volume    = "40000000-1f2e-4d6a-8a41-000000000001"
	project   = "5d1b8e7a90f64c2bb1f0c7d3e4a59668"
	heir      = "6d1b8e7a90f64c2bb1f0c7d3e4a59668" // another project
	user      = "7d1b8e7a90f64c2bb1f0c7d3e4a59668"
)

// pollWeb is what the compute agent polls of the instance web at a time; its counters
// have advanced by so many steps.
func pollWeb(time string, step float64) (samples []polled) {
	metadata := func(more map[string]any) map[string]any {
		m := map[string]any{
			"display_name": "web", "name": "instance-00000001", "instance_id": web, "instance_type": "m1.small",
			"host": "0f5c9d", "instance_host": "compute-1", "status": "active", "state": "running", "task_state": "",
			"flavor":    map[string]any{"id": "1", "name": "m1.small", "vcpus": 1, "ram": 512, "disk": 1, "ephemeral": 0, "swap": 0},
			"image":     map[string]any{"id": image},
			"image_ref": image, "image_ref_url": nil, "vcpus": 1, "memory_mb": 512, "disk_gb": 1, "ephemeral_gb": 0, "root_gb": 1,
			"launched_at": "2026-01-01T11:50:00.000000", "created_at": "2026-01-01T11:49:00Z",
			"user_metadata": map[string]any{"server_group": "front"},
		}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	owner := user
	add := func(name, kind, unit string, volume float64, resource string, more map[string]any) {
		samples = append(samples, polled{name, kind, unit, volume, &owner, project, resource, time, metadata(more)})
	}
	add("cpu", "cumulative", "ns", 60e9*step, web, map[string]any{"cpu_number": 1})
	add("memory.usage", "gauge", "MB", 256+step, web, nil)
	nic := map[string]any{"name": "tap0a1b2c3d-4e", "vnic_name": "tap0a1b2c3d-4e", "mac": "fa:16:3e:00:00:01", "fref": nil}
	add("network.incoming.bytes", "cumulative", "B", 1000*step, webNIC, nic)
	add("network.outgoing.bytes", "cumulative", "B", 500*step, webNIC, nic)
	add("disk.device.read.bytes", "cumulative", "B", 4096*step, webDisk, map[string]any{"disk_name": "vda"})
	return samples
}

// nova is a notification of Nova about an instance.
func nova(eventType, time, id, name, flavor, flavorID string, more map[string]any) notified {
	payload := map[string]any{
		"tenant_id": project, "user_id": user, "instance_id": id, "display_name": name, "host": "compute-1", "node": "compute-1",
		"instance_type": flavor, "instance_type_id": 5, "instance_flavor_id": flavorID, "memory_mb": 1024, "vcpus": 2, "root_gb": 1, "ephemeral_gb": 0,
		"disk_gb": 1, "state": "active", "availability_zone": "nova", "created_at": "2026-01-01 11:49:00+00:00", "launched_at": "2026-01-01T11:50:00.000000",
		"deleted_at": "", "terminated_at": "", "metadata": map[string]any{}, "image_meta": map[string]any{"base_image_ref": image},
	}
	for k, v := range more {
		payload[k] = v
	}
	return notification(eventType, "compute.compute-1", time, payload)
}

// cinder is a notification of Cinder about the volume.
func cinder(eventType, time, owner string, size int, more map[string]any) notified {
	payload := map[string]any{
		"tenant_id": owner, "user_id": user, "volume_id": volume, "display_name": "data", "volume_type": "50000000-1f2e-4d6a-8a41-000000000001",
		"size": size, "status": "available", "host": "cinder-1@lvm", "availability_zone": "nova", "created_at": "2026-01-01T11:00:00+00:00",
		"replication_status": nil, "volume_attachment": []any{}, "glance_metadata": []any{},
	}
	for k, v := range more {
		payload[k] = v
	}
	return notification(eventType, "volume.cinder-1@lvm", time, payload)
}

// glance is a notification of Glance about the image.
func glance(eventType, time string) notified {
	return notification(eventType, "image.glance-1", time, map[string]any{
		"id": image, "name": "debian", "owner": project, "size": 358940672, "container_format": "bare", "disk_format": "qcow2", "status": "active",
		"created_at": "2026-01-01T10:00:00Z", "deleted_at": nil, "visibility": "public",
	})
}

// TestCeilometerGnocchi has Ceilometer's own publisher write, with the definitions that
// Ceilometer ships, and looks at what arrived. With GNOCCHI_ENDPOINT in the environment
// it writes into that server, such as a real Gnocchi it has not written into yet.
func TestCeilometerGnocchi(t *testing.T) {
	t.Parallel()
	c := startCeilometer(t)
	t.Run("with its resource types", func(t *testing.T) {
		c.publish(t, gnocchiServer(t, "definitions = []\n"), true)
	})
	if os.Getenv("GNOCCHI_ENDPOINT") != "" {
		return
	}
	// These are the same but that they demand no attribute.
	t.Run("with the aggregator's resource types", func(t *testing.T) {
		c.publish(t, gnocchiServer(t, ""), false)
	})
}

// publish publishes in steps to a server; ownTypes says that it has no resource types
// before Ceilometer creates them.
func (c *ceilometer) publish(t *testing.T, url string, ownTypes bool) {
	c.begin(t, url)
	api := newGnocchiAPI(url)
	for name, value := range map[string]string{
		"WEB": web, "NIC": webNIC, "DISK": webDisk, "DB": db, "IMAGE": image, "GOOD": goodImage, "BAD": badImage, "VOLUME": volume, "PROJECT": project, "HEIR": heir, "USER": user,
	} {
		api.saved[name] = value
	}
	check := func(t *testing.T, what string) {
		t.Helper()
		api.play(t, "testdata/ceilometer_"+what+".txt")
	}
	type step struct {
		name string
		run  func(*testing.T)
	}
	steps := []step{
		{"resource types", func(t *testing.T) {
			requests := c.do(t, "upgrade", nil).Requests
			created := 0
			for _, r := range requests {
				switch {
				case regexp.MustCompile(`^POST /v1/resource_type/ 201$`).MatchString(r):
					created++
				case !regexp.MustCompile(`^GET .* (200|404)$|^PATCH .* 200$`).MatchString(r):
					t.Errorf("ceilometer-upgrade: %s", r)
				}
			}
			if len(requests) < 20 || ownTypes != (created > 0) {
				t.Errorf("ceilometer-upgrade sent\n%s", strings.Join(requests, "\n"))
			}
			// Done again, as by each upgrade, it creates nothing. It does not
			// notice that the attributes it adds are there.
			p := c.do(t, "upgrade", nil)
			p.Requests = slices.DeleteFunc(p.Requests, func(r string) bool { return strings.HasPrefix(r, "GET ") && strings.HasSuffix(r, " 200") })
			p.requested(t, `PATCH /v1/resource_type/volume 200`, `PATCH /v1/resource_type/volume 200`,
				`PATCH /v1/resource_type/instance 200`, `PATCH /v1/resource_type/instance 200`, `PATCH /v1/resource_type/instance 200`)
			if ownTypes {
				check(t, "types")
			}
		}},
		{"an instance is polled", func(t *testing.T) {
			p := c.do(t, "samples", slices.Concat(pollWeb("2026-01-01T12:00:00.250000", 1), pollWeb("2026-01-01T12:05:00.250000", 2), pollWeb("2026-01-01T12:10:00.250000", 4)))
			p.requested(t, `POST /v1/archive_policy/ (201|409)`, `POST /v1/archive_policy/ (201|409)`, `POST /v1/archive_policy/ (201|409)`, `POST /v1/archive_policy/ (201|409)`,
				unknownResources, `POST /v1/resource/instance 201`, `POST /v1/resource/instance_network_interface 201`, `POST /v1/resource/instance_disk 201`,
				measuresAccepted, `PATCH /v1/resource/instance/`+web+` 200`, `PATCH /v1/resource/instance_network_interface/.* 200`, `PATCH /v1/resource/instance_disk/.* 200`)
			check(t, "instance")
		}},
		{"the same again", func(t *testing.T) {
			p := c.do(t, "samples", pollWeb("2026-01-01T12:10:00.250000", 4))
			p.requested(t, measuresAccepted, `PATCH /v1/resource/instance/`+web+` 200`, `PATCH /v1/resource/instance_network_interface/.* 200`, `PATCH /v1/resource/instance_disk/.* 200`)
			check(t, "instance")
			check(t, "unchanged")
		}},
		{"an instance is resized", func(t *testing.T) {
			p := c.do(t, "notification", nova("compute.instance.finish_resize.end", "2026-01-01 12:12:00.000000", web, "web", "m1.large", "2", nil))
			p.requested(t, measuresAccepted, `PATCH /v1/resource/instance/`+web+` 200`)
			check(t, "resized")
		}},
		{"an instance is created", func(t *testing.T) {
			p := c.do(t, "notification", nova("compute.instance.create.end", "2026-01-01 12:13:00.000000", db, "db", "m1.large", "2", nil))
			p.requested(t, unknownResources, `POST /v1/resource/instance 201`, measuresAccepted, `PATCH /v1/resource/instance/`+db+` 200`, `POST /v1/resource/instance 409`)
			check(t, "created")
		}},
		{"an instance is deleted", func(t *testing.T) {
			p := c.do(t, "notification", nova("compute.instance.delete.start", "2026-01-01 12:20:00.000000", web, "web", "m1.large", "2", nil))
			p.requested(t, measuresAccepted, `PATCH /v1/resource/instance/`+web+` 200`, `PATCH /v1/resource/instance/`+web+` 200`,
				`POST /v1/search/resource/instance_network_interface 200`, `PATCH /v1/resource/instance_network_interface/.* 200`,
				`POST /v1/search/resource/instance_disk 200`, `PATCH /v1/resource/instance_disk/.* 200`)
			// Its last samples come when it is ended already.
			p = c.do(t, "notification", nova("compute.instance.delete.end", "2026-01-01 12:20:05.000000", web, "web", "m1.large", "2",
				map[string]any{"state": "deleted", "deleted_at": "2026-01-01T12:20:04.000000"}))
			p.requested(t, measuresAccepted, `PATCH /v1/resource/instance/`+web+` 200`)
			check(t, "deleted")
		}},
		{"an image", func(t *testing.T) {
			c.do(t, "notification", glance("image.upload", "2026-01-01 10:00:05.000000")).
				requested(t, unknownResources, `POST /v1/resource/image 201`, measuresAccepted, `PATCH /v1/resource/image/`+image+` 200`)
			c.do(t, "notification", glance("image.delete", "2026-01-01 10:09:00.000000")).
				requested(t, measuresAccepted, `PATCH /v1/resource/image/`+image+` 200`, `PATCH /v1/resource/image/`+image+` 200`)
			check(t, "image")
		}},
		{"a volume", func(t *testing.T) {
			c.do(t, "notification", cinder("volume.create.end", "2026-01-01 11:00:05.000000", project, 10, nil)).
				requested(t, unknownResources, `POST /v1/resource/volume 201`, measuresAccepted, `PATCH /v1/resource/volume/`+volume+` 200`)
			c.do(t, "notification", cinder("volume.attach.end", "2026-01-01 11:05:05.000000", project, 10, map[string]any{"volume_attachment": []any{map[string]any{"server_id": db}}})).
				requested(t, measuresAccepted, `PATCH /v1/resource/volume/`+volume+` 200`)
			c.do(t, "notification", cinder("volume.resize.end", "2026-01-01 11:10:05.000000", project, 20, nil)).
				requested(t, measuresAccepted, `PATCH /v1/resource/volume/`+volume+` 200`)
			c.do(t, "notification", cinder("volume.transfer.accept.end", "2026-01-01 11:15:05.000000", heir, 20, nil)).
				requested(t, `PATCH /v1/resource/volume/`+volume+` 200`)
			c.do(t, "notification", cinder("volume.delete.end", "2026-01-01 11:20:05.000000", heir, 20, nil)).
				requested(t, measuresAccepted, `PATCH /v1/resource/volume/`+volume+` 200`, `PATCH /v1/resource/volume/`+volume+` 200`)
			check(t, "volume")
		}},
		{"a Swift account", func(t *testing.T) {
			sample := func(name, unit, resource string, volume float64) polled {
				return polled{Name: name, Type: "gauge", Unit: unit, Volume: volume, Project: project, Resource: resource, Time: "2026-01-01T12:00:00.500000"}
			}
			// They have no attributes that could be updated.
			c.do(t, "samples", []polled{
				sample("storage.objects", "object", project, 12), sample("storage.objects.size", "B", project, 4096),
				sample("storage.containers.objects", "object", project+"/photos", 7),
			}).requested(t, unknownResources, `POST /v1/resource/swift_account 201`, `POST /v1/resource/swift_account 201`, measuresAccepted)
			check(t, "swift")
		}},
	}
	if ownTypes {
		steps = append(steps, step{"one of two is not as its type demands", func(t *testing.T) {
			sample := func(id string, metadata map[string]any) polled {
				return polled{Name: "image.size", Type: "gauge", Unit: "B", Volume: 9, Project: project, Resource: id, Time: "2026-01-01T12:00:00.500000", Metadata: metadata}
			}
			p := c.do(t, "samples", []polled{
				sample(goodImage, map[string]any{"name": "good", "container_format": "bare", "disk_format": "raw"}),
				sample(badImage, map[string]any{"name": "bad"}),
			})
			if len(p.Warnings) != 1 || !regexp.MustCompile(`^Error creating resource `+badImage+`: .*\(HTTP 400\)$`).MatchString(p.Warnings[0]) {
				t.Errorf("Ceilometer warns: %q", p.Warnings)
			}
			p.Warnings = nil
			p.requested(t, unknownResources, `POST /v1/resource/image 201`, `POST /v1/resource/image 400`, measuresAccepted, `PATCH /v1/resource/image/`+goodImage+` 200`)
			check(t, "refused")
		}})
	}
	for _, step := range steps {
		if !t.Run(step.name, step.run) {
			break // the next steps stand on it
		}
	}
}
