package compose

import (
	"context"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// loadProject reads, merges, checks and completes the files of a project. Its
// name is the file's own, or else the directory's.
func loadProject(ctx context.Context, details types.ConfigDetails, dir string, profiles []string) (*types.Project, error) {
	return loader.LoadWithContext(ctx, details, loader.WithProfiles(profiles), func(o *loader.Options) {
		name := loader.NormalizeProjectName(dir)
		if name == "" {
			name = "compose"
		}
		o.SetProjectName(name, false)
	})
}
