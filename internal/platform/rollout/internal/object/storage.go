package object

import (
	"path"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-cloud/sampan/api/v1alpha1"
)

// storage is a revision's data directories. Those that each copy has for
// itself are made by the StatefulSet and only mounted here.
func storage(app *v1alpha1.App, r Revision) ([]corev1.Volume, []corev1.VolumeMount) {
	var volumes []corev1.Volume
	var mounts []corev1.VolumeMount
	for _, v := range r.Spec.Volumes {
		mounts = append(mounts, corev1.VolumeMount{Name: v.Name, MountPath: v.Path, ReadOnly: v.ReadOnly})
		source := corev1.VolumeSource{}
		switch {
		case v.Claim != "":
			source.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: v.Claim, ReadOnly: v.ReadOnly}
		case v.Shared:
			source.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(app, v), ReadOnly: v.ReadOnly}
		case v.Size != nil:
			continue
		default:
			source.EmptyDir = &corev1.EmptyDirVolumeSource{}
			if v.Memory {
				source.EmptyDir.Medium = corev1.StorageMediumMemory
			}
		}
		volumes = append(volumes, corev1.Volume{Name: v.Name, VolumeSource: source})
	}
	return volumes, mounts
}

func claimName(app *v1alpha1.App, v v1alpha1.Volume) string { return app.Name + "-" + v.Name }

// SharedClaims are the volumes that all copies share. They belong to the app
// and go with it.
func SharedClaims(app *v1alpha1.App) []*corev1.PersistentVolumeClaim {
	var out []*corev1.PersistentVolumeClaim
	for _, v := range app.Spec.Volumes {
		if v.Shared && v.Size != nil {
			out = append(out, &corev1.PersistentVolumeClaim{ObjectMeta: meta(app, claimName(app, v), ""), Spec: claim(v, corev1.ReadWriteMany)})
		}
	}
	return out
}

// ownClaims are the templates of the volumes that each copy has for itself.
func ownClaims(app *v1alpha1.App, spec *v1alpha1.AppSpec) []corev1.PersistentVolumeClaim {
	var out []corev1.PersistentVolumeClaim
	for _, v := range spec.Volumes {
		if v.Size != nil && !v.Shared {
			out = append(out, corev1.PersistentVolumeClaim{
				ObjectMeta: metav1.ObjectMeta{Name: v.Name, Labels: Labels(app, "")}, Spec: claim(v, corev1.ReadWriteOnce),
			})
		}
	}
	return out
}

func claim(v v1alpha1.Volume, mode corev1.PersistentVolumeAccessMode) corev1.PersistentVolumeClaimSpec {
	return corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{mode}, StorageClassName: v.StorageClass,
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: *v.Size}},
	}
}

// files mounts the files of a revision. A file mounted by itself never changes
// in a running copy, a directory does: so with reload in place the file's whole
// directory is mounted.
func files(app *v1alpha1.App, r Revision) ([]corev1.Volume, []corev1.VolumeMount) {
	byDir := map[string][]v1alpha1.File{}
	for _, f := range r.Spec.Files {
		dir := path.Dir(f.Path)
		byDir[dir] = append(byDir[dir], f)
	}
	var volumes []corev1.Volume
	var mounts []corev1.VolumeMount
	for _, dir := range sortedKeys(byDir) {
		name := "files-" + HashData(dir)
		projected := &corev1.ProjectedVolumeSource{}
		for _, f := range byDir[dir] {
			projected.Sources = append(projected.Sources, projection(app, r, f))
			if !Live(&r.Spec) {
				mounts = append(mounts, corev1.VolumeMount{Name: name, MountPath: f.Path, SubPath: path.Base(f.Path), ReadOnly: true})
			}
		}
		if Live(&r.Spec) {
			mounts = append(mounts, corev1.VolumeMount{Name: name, MountPath: dir, ReadOnly: true})
		}
		volumes = append(volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: projected}})
	}
	return volumes, mounts
}

func projection(app *v1alpha1.App, r Revision, f v1alpha1.File) corev1.VolumeProjection {
	mode := int32(0o644)
	if f.Mode != nil {
		mode = *f.Mode
	}
	item := func(key string) []corev1.KeyToPath {
		return []corev1.KeyToPath{{Key: key, Path: path.Base(f.Path), Mode: &mode}}
	}
	source := func(name string) corev1.LocalObjectReference {
		if Live(&r.Spec) {
			return corev1.LocalObjectReference{Name: name}
		}
		return corev1.LocalObjectReference{Name: FrozenName(app, r.Name, name)}
	}
	switch {
	case f.ConfigMap != nil:
		return corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: source(f.ConfigMap.Name), Items: item(f.ConfigMap.Key), Optional: optional(f.ConfigMap)}}
	case f.Secret != nil:
		return corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: source(f.Secret.Name), Items: item(f.Secret.Key), Optional: optional(f.Secret)}}
	}
	return corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: filesName(app, r)}, Items: item(fileKey(f.Path))}}
}
