package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// provisionerName is what a StorageClass says to get node-local volumes.
const provisionerName = "sampan.io/local"

// volumes makes and removes the directories behind node-local persistent
// volumes, each Dir/volumes/NAMESPACE_CLAIM_UID.
type volumes struct {
	cfg        Config
	log        *slog.Logger
	controller *controller.ProvisionController
}

// newVolumes must be called before any component runs: upstream's constructor
// writes to client-go's scheme, which every client in this process reads.
func newVolumes(ctx context.Context, cfg Config, clients *clients, log *slog.Logger) *volumes {
	v := &volumes{cfg: cfg, log: log}
	v.controller = controller.NewProvisionController(ctx, clients.core, provisionerName, v,
		controller.LeaderElection(false),
		controller.Threadiness(4),
		controller.MetricsPort(0),
	)
	return v
}

func (v *volumes) Run(ctx context.Context, ready func()) error {
	ready()
	v.controller.Run(ctx)
	return nil
}

// Provision makes the directory of one volume. It may be repeated.
func (v *volumes) Provision(ctx context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	claim := o.PVC
	if o.SelectedNodeName != v.cfg.NodeName {
		// Another node's provisioner makes it there.
		return nil, controller.ProvisioningNoChange, &controller.IgnoredError{Reason: "the pod runs on another node"}
	}
	if claim.Spec.Selector != nil {
		return nil, controller.ProvisioningFinished, errors.New("a claim with a selector cannot be provisioned")
	}
	for _, mode := range claim.Spec.AccessModes {
		if mode == corev1.ReadWriteMany || mode == corev1.ReadOnlyMany {
			return nil, controller.ProvisioningFinished, fmt.Errorf("access mode %s: a node-local volume is on one node: %w", mode, fault.Unsupported)
		}
	}
	path := filepath.Join(v.cfg.VolumesDir, fmt.Sprintf("%s_%s_%s", claim.Namespace, claim.Name, claim.UID))
	// Containers run as any user; what is inside is kept apart by the directory
	// above, which only root can enter.
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if err := os.Chmod(path, 0o777); err != nil { // whatever the umask is
		return nil, controller.ProvisioningFinished, err
	}
	v.log.Info("volume made", "volume", o.PVName, "claim", claim.Namespace+"/"+claim.Name, "path", path)
	return v.object(o, path), controller.ProvisioningFinished, nil
}

func (v *volumes) object(o controller.ProvisionOptions, path string) *corev1.PersistentVolume {
	directory := corev1.HostPathDirectory
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			MountOptions:                  o.StorageClass.MountOptions,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]},
			// Directory, not DirectoryOrCreate: a pod must not start on an empty
			// directory when the disk with its data is not mounted.
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &directory},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{
					MatchExpressions: []corev1.NodeSelectorRequirement{{
						Key:      corev1.LabelHostname,
						Operator: corev1.NodeSelectorOpIn,
						Values:   []string{v.cfg.NodeName},
					}},
				}},
			}},
		},
	}
}

// Delete removes a volume's directory, and nothing that is not one.
func (v *volumes) Delete(ctx context.Context, pv *corev1.PersistentVolume) error {
	if !v.isOurs(pv) {
		return &controller.IgnoredError{Reason: "the volume is on another node"}
	}
	path, err := v.directory(pv)
	if err != nil {
		return err
	}
	// Renamed first: a removal cut short must not leave half a volume under
	// its old name.
	trash := filepath.Join(v.cfg.VolumesDir, ".removed-"+filepath.Base(path))
	if err := os.Rename(path, trash); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(trash); err != nil {
		return err
	}
	v.log.Info("volume removed", "volume", pv.Name, "path", path)
	return nil
}

func (v *volumes) isOurs(pv *corev1.PersistentVolume) bool {
	affinity := pv.Spec.NodeAffinity
	if affinity == nil || affinity.Required == nil {
		return false
	}
	for _, term := range affinity.Required.NodeSelectorTerms {
		for _, e := range term.MatchExpressions {
			if e.Key == corev1.LabelHostname && len(e.Values) == 1 && e.Values[0] == v.cfg.NodeName {
				return true
			}
		}
	}
	return false
}

// directory returns where pv's data is. A PersistentVolume is an object that
// users can write: its path is believed only right below VolumesDir.
func (v *volumes) directory(pv *corev1.PersistentVolume) (string, error) {
	if pv.Spec.HostPath == nil {
		return "", fmt.Errorf("volume %s has no directory: %w", pv.Name, fault.Invalid)
	}
	path := filepath.Clean(pv.Spec.HostPath.Path)
	name := filepath.Base(path)
	if filepath.Dir(path) != filepath.Clean(v.cfg.VolumesDir) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("volume %s: %s is not right below %s: %w", pv.Name, path, v.cfg.VolumesDir, fault.Forbidden)
	}
	if info, err := os.Lstat(path); err == nil && !info.IsDir() {
		return "", fmt.Errorf("volume %s: %s is not a directory: %w", pv.Name, path, fault.Forbidden)
	}
	return path, nil
}
