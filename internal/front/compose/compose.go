// Package compose turns compose files into apps and what they name.
//
// A compose file describes one machine; a cloud has names instead of host ports
// and keeps no directory of the machine that the file lies on. What a file says
// and a cloud cannot do becomes a Note with the place of the words: nothing is
// left out in silence.
//
// Reading is compose-go's, so that extends, include, profiles, variables and
// both syntaxes are what users know. That library starts slowly, which is why
// this package is no part of the command line's own program.
package compose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// Config says what to read.
type Config struct {
	Files    []string // later ones override earlier ones; - is Input
	Input    io.Reader
	Profiles []string
	Env      []string // NAME=VALUE, for the variables in the files
}

// Result is what files ask for, in the order in which it can be made.
type Result struct {
	Objects []Object `json:"objects"`
	Notes   []Note   `json:"notes"`
}

// Object is one object for the API, and where the file speaks of it.
type Object struct {
	Object map[string]any `json:"object"`
	Place  string         `json:"place"`
}

// Note is something that the files say and that is not, or not quite, done.
type Note struct {
	Place string   `json:"place"`
	Field string   `json:"field"`
	Why   Why      `json:"why"`
	Args  []string `json:"args,omitempty"`
}

// Read reads compose files and turns each service into an app.
func Read(ctx context.Context, cfg Config) (*Result, error) {
	files, err := cfg.sources()
	if err != nil {
		return nil, err
	}
	where, err := readPlaces(files)
	if err != nil {
		return nil, err
	}
	project, err := cfg.load(ctx, files)
	if err != nil {
		return nil, where.locate(err)
	}
	c := converter{project: project, where: where, jobs: jobsOf(project), used: users(project)}
	return c.convert()
}

// source is one file as it was read.
type source struct {
	name string // as the user gave it
	path string // absolute
	data []byte
}

func (cfg Config) sources() ([]source, error) {
	if len(cfg.Files) == 0 {
		return nil, fmt.Errorf("a compose file: %w", fault.Invalid)
	}
	var list []source
	for _, name := range cfg.Files {
		s := source{name: name}
		var err error
		if name == "-" {
			s.name, s.path = "compose.yaml", "compose.yaml"
			s.data, err = io.ReadAll(cfg.Input)
		} else {
			s.path = name
			s.data, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, err
		}
		if s.path, err = filepath.Abs(s.path); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// load has compose-go read the files. The project's directory is the first
// file's, as for docker compose.
func (cfg Config) load(ctx context.Context, files []source) (*types.Project, error) {
	dir := filepath.Dir(files[0].path)
	var paths []string
	for _, f := range files {
		paths = append(paths, f.path)
	}
	o, err := cli.NewProjectOptions(paths, cli.WithWorkingDirectory(dir), cli.WithEnv(cfg.Env), cli.WithProfiles(cfg.Profiles), cli.WithEnvFiles(), cli.WithDotEnv)
	if err != nil {
		return nil, err
	}
	details := types.ConfigDetails{WorkingDir: dir, Environment: o.Environment}
	for _, f := range files {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: f.path, Content: f.data})
	}
	// It warns of an obsolete version: line, which harms nobody, on stderr.
	logrus.SetOutput(io.Discard)
	return loadProject(ctx, details, filepath.Base(dir), cfg.Profiles)
}

// jobsOf are the services that others want to have ended, not to run.
func jobsOf(p *types.Project) map[string]bool {
	jobs := map[string]bool{}
	for _, s := range p.Services {
		for name, d := range s.DependsOn {
			if d.Condition == types.ServiceConditionCompletedSuccessfully {
				jobs[name] = true
			}
		}
	}
	return jobs
}

// users are the services that use each named volume.
func users(p *types.Project) map[string][]string {
	used := map[string][]string{}
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeVolume && v.Source != "" && !slices.Contains(used[v.Source], name) {
				used[v.Source] = append(used[v.Source], name)
			}
		}
	}
	return used
}

// converter makes objects of one project.
type converter struct {
	project *types.Project
	where   places
	jobs    map[string]bool
	used    map[string][]string
	result  Result
	errs    []error
}

func (c *converter) convert() (*Result, error) {
	c.result = Result{Objects: []Object{}, Notes: []Note{}}
	c.networks()
	c.volumes()
	c.secrets()
	c.configs()
	names := c.project.ServiceNames()
	slices.Sort(names)
	for _, name := range names {
		c.service(c.project.Services[name])
	}
	for _, s := range sortedKeys(c.project.DisabledServices) {
		c.note(path{"services", s}, WhyProfile, strings.Join(c.project.DisabledServices[s].Profiles, ", "))
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.result.Notes, func(x, y Note) int { return comparePlaces(x.Place, y.Place) })
	return &c.result, nil
}

// path leads to a field of the files.
type path []string

func (p path) to(more ...string) path { return append(slices.Clone(p), more...) }

func (p path) String() string { return strings.Join(p, ".") }

func (c *converter) note(p path, why Why, args ...string) {
	c.result.Notes = append(c.result.Notes, Note{Place: c.where.at(p), Field: p.String(), Why: why, Args: args})
}

func (c *converter) refuse(p path, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: %s: %s: %w", c.where.at(p), p, fmt.Sprintf(format, args...), fault.Invalid))
}

func (c *converter) add(p path, object map[string]any) {
	c.result.Objects = append(c.result.Objects, Object{Object: object, Place: c.where.at(p)})
}
