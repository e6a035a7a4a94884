// Package archive is the file that a checkpoint of a container is: a tar with
// what CRI-O, containerd and Podman put into theirs, under the same names, so
// that each one's tools read the others'.
//
//	config.dump            what the container was: Config
//	spec.dump              the OCI specification it ran by
//	network.status         the pod's address, as Podman tells it
//	checkpoint/            CRIU's images
//	dump.log, stats-dump   what CRIU said and measured
//	rootfs-diff.tar        files that were added or changed
//	deleted.files          files of the image that were deleted
//	volumes/N.tar          what the container kept in the volumes of its image
//	devshm-checkpoint.tar  what was in /dev/shm
//
// An archive comes from anywhere. Reading one writes nothing but these files,
// and none of them is executed; what CRIU makes of its images is another matter.
package archive

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Names in an archive, and of the same files in a directory.
const (
	Images    = "checkpoint" // directory
	Volumes   = "volumes"    // directory
	RootDiff  = "rootfs-diff.tar"
	SharedMem = "devshm-checkpoint.tar"

	configFile  = "config.dump"
	specFile    = "spec.dump"
	networkFile = "network.status"
	deletedFile = "deleted.files"
	logFile     = "dump.log"
	statsFile   = "stats-dump"
)

// Config is what config.dump says.
type Config struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Image        string    `json:"rootfsImage,omitempty"`     // ID
	ImageRef     string    `json:"rootfsImageRef,omitempty"`  // name with digest
	ImageName    string    `json:"rootfsImageName,omitempty"` // as asked for
	Runtime      string    `json:"runtime,omitempty"`
	Created      time.Time `json:"createdTime"`
	Checkpointed time.Time `json:"checkpointedTime"`
	RestoredAt   time.Time `json:"restoredTime"`
	Restored     bool      `json:"restored"`
}

// networks is network.status: by network, by interface.
type networks map[string]struct {
	Interfaces map[string]netInterface `json:"interfaces"`
}

type netInterface struct {
	Subnets []subnet `json:"subnets"`
	MAC     string   `json:"mac_address,omitempty"`
}

type subnet struct {
	Addr    string `json:"ipnet"`
	Gateway string `json:"gateway,omitempty"`
}

// A Dir is a directory with the files of one archive, under their names in it.
type Dir string

// Path is where a file of the archive is.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// Describe writes what there is to say of a container. address is its pod's with
// the length of its prefix, or "".
func (d Dir) Describe(c Config, spec *specs.Spec, address string) error {
	status := networks{}
	if address != "" {
		n := status["pod"]
		n.Interfaces = map[string]netInterface{"eth0": {Subnets: []subnet{{Addr: address}}}}
		status["pod"] = n
	}
	for name, v := range map[string]any{configFile: c, specFile: spec, networkFile: status} {
		if err := d.write(name, v); err != nil {
			return err
		}
	}
	return nil
}

// Config reads what the container was.
func (d Dir) Config() (c Config, err error) { return c, d.read(configFile, &c) }

// Spec reads the specification.
func (d Dir) Spec() (*specs.Spec, error) {
	var s specs.Spec
	if err := d.read(specFile, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Address is the pod's, with the length of its prefix, or "" if nobody says.
func (d Dir) Address() string {
	var all networks
	if d.read(networkFile, &all) != nil {
		return ""
	}
	for _, n := range all {
		for _, i := range n.Interfaces {
			for _, s := range i.Subnets {
				return s.Addr
			}
		}
	}
	return ""
}

func (d Dir) write(name string, v any) error {
	text, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(d.Path(name), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// maxJSON bounds what is read into memory: an archive's author decides how large
// its files are.
const maxJSON = 64 << 20

func (d Dir) read(name string, v any) error {
	f, err := os.Open(d.Path(name))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > maxJSON {
		return fmt.Errorf("%s is larger than %d bytes: %w", name, maxJSON, fault.Corrupt)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s: %w: %w", name, err, fault.Corrupt)
	}
	return nil
}
