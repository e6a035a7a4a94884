package compose

import (
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/types"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// defaultSize is asked for a volume, which has no size in a compose file.
const defaultSize = "1Gi"

// longestFile is how much of a bind-mounted file an App takes in: an object of
// the API may have about a megabyte in all.
const longestFile = 256 << 10

// volumes are those that several copies use: an object of their own, which
// outlives the apps. The others belong to the one app that uses them.
func (c *converter) volumes() {
	for _, name := range sortedKeys(c.project.Volumes) {
		v := c.project.Volumes[name]
		at := path{"volumes", name}
		switch {
		case bool(v.External):
			c.note(at, WhyClaim, v.Name)
			continue
		case v.Driver != "" && v.Driver != "local":
			c.note(at.to("driver"), WhyMeaningless)
		}
		if len(v.DriverOpts) > 0 {
			c.note(at.to("driver_opts"), WhyMeaningless)
		}
		if len(c.used[name]) == 0 {
			continue
		}
		c.note(at, WhySize, defaultSize)
		if c.shared(name) {
			c.add(at, map[string]any{
				"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": c.meta(v.Name),
				"spec": map[string]any{
					// Once is once a node: volumes of a node bring
					// their pods to it, and offer nothing more.
					"accessModes": []string{"ReadWriteOnce"},
					"resources":   map[string]any{"requests": map[string]any{"storage": defaultSize}},
				},
			})
		}
	}
}

func (c *converter) meta(name string) map[string]any {
	return map[string]any{"name": appName(name), "labels": map[string]any{projectLabel: c.project.Name}}
}

// mounts are a service's volumes, temporary directories, secrets and configs.
func (c *converter) mounts(at path, s types.ServiceConfig, spec *v1alpha1.AppSpec) {
	for i, v := range s.Volumes {
		c.volume(at.to("volumes", strconv.Itoa(i)), v, spec)
	}
	for i, t := range s.Tmpfs {
		target, options, _ := strings.Cut(t, ":")
		if options != "" {
			c.note(at.to("tmpfs", strconv.Itoa(i)), WhyMeaningless)
		}
		spec.Volumes = append(spec.Volumes, v1alpha1.Volume{Name: unnamed(spec), Path: target, Memory: true})
	}
	for i, f := range s.Secrets {
		ref := types.FileReferenceConfig(f)
		object, key := c.secretKey(f.Source)
		target := orElse(f.Target, f.Source)
		if !strings.HasPrefix(target, "/") {
			target = "/run/secrets/" + target
		}
		c.file(at.to("secrets", strconv.Itoa(i)), ref, v1alpha1.File{Path: target, Secret: &v1alpha1.KeyRef{Name: object, Key: key}}, spec)
	}
	for i, f := range s.Configs {
		ref := types.FileReferenceConfig(f)
		object, key := c.configKey(f.Source)
		target := orElse(f.Target, "/"+f.Source)
		if !strings.HasPrefix(target, "/") {
			target = "/" + target
		}
		c.file(at.to("configs", strconv.Itoa(i)), ref, v1alpha1.File{Path: target, ConfigMap: &v1alpha1.KeyRef{Name: object, Key: key}}, spec)
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// unnamed is a name for a volume that has none in the file.
func unnamed(spec *v1alpha1.AppSpec) string { return "v" + strconv.Itoa(len(spec.Volumes)) }

func (c *converter) file(at path, ref types.FileReferenceConfig, f v1alpha1.File, spec *v1alpha1.AppSpec) {
	if ref.Mode != nil {
		f.Mode = ptr(int32(*ref.Mode))
	}
	if ref.UID != "" || ref.GID != "" {
		c.note(at, WhyUser)
	}
	spec.Files = append(spec.Files, f)
}

// volume is one entry of a service's volumes.
func (c *converter) volume(at path, v types.ServiceVolumeConfig, spec *v1alpha1.AppSpec) {
	out := v1alpha1.Volume{Name: unnamed(spec), Path: v.Target, ReadOnly: v.ReadOnly}
	switch v.Type {
	case types.VolumeTypeBind:
		c.bind(at, v, spec)
		return
	case types.VolumeTypeTmpfs:
		out.Memory = true
		if v.Tmpfs != nil && (v.Tmpfs.Size > 0 || v.Tmpfs.Mode > 0) {
			c.note(at, WhyMeaningless)
		}
	case types.VolumeTypeVolume:
		if v.Volume != nil && v.Volume.Subpath != "" {
			c.note(at, WhyMeaningless)
		}
		if v.Source != "" {
			c.named(v.Source, &out)
		}
	default:
		c.note(at, WhyMeaningless)
		return
	}
	spec.Volumes = append(spec.Volumes, out)
}

// shared tells whether more than one copy uses a volume, now or, for a job, in
// its next run.
func (c *converter) shared(name string) bool {
	users := c.used[name]
	if len(users) != 1 {
		return len(users) > 1
	}
	s := c.project.Services[users[0]]
	return s.GetScale() > 1 || c.jobs[s.Name]
}

// named decides whose a named volume is. All copies of a compose service see
// the same one. With one copy that is best said as a volume of its own: then
// the old copy is stopped before the new one starts, as a database needs it.
func (c *converter) named(name string, out *v1alpha1.Volume) {
	v := c.project.Volumes[name]
	out.Name = appName(name)
	out.Name = strings.TrimRight(out.Name[:min(len(out.Name), 40)], "-")
	switch {
	case bool(v.External):
		out.Claim = v.Name
	case c.shared(name):
		out.Claim = appName(v.Name)
	default:
		size := resource.MustParse(defaultSize)
		out.Size = &size
	}
}

// bind takes a file of this machine along. A directory stays behind: an App
// runs on any node.
func (c *converter) bind(at path, v types.ServiceVolumeConfig, spec *v1alpha1.AppSpec) {
	info, err := os.Stat(v.Source)
	if err != nil || !info.Mode().IsRegular() {
		c.note(at, WhyHostPath, v.Source)
		return
	}
	if info.Size() > longestFile {
		c.note(at, WhyNotText, v.Source)
		return
	}
	data, err := os.ReadFile(v.Source)
	if err != nil {
		c.refuse(at, "%v", err)
		return
	}
	if !utf8.Valid(data) {
		c.note(at, WhyNotText, v.Source)
		return
	}
	c.note(at, WhyCopied, v.Source)
	f := v1alpha1.File{Path: v.Target, Content: ptr(string(data))}
	if mode := int32(info.Mode().Perm()); mode&0o111 != 0 {
		f.Mode = &mode // a script stays one
	}
	spec.Files = append(spec.Files, f)
}
