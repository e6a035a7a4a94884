package cri

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/image"
)

// pullCounts counts pulls for the verbose status.
type pullCounts struct{ running, done, failed atomic.Int64 }

// ListImages lists the images, or the one that the filter names.
func (s *Server) ListImages(ctx context.Context, req *runtime.ListImagesRequest) (*runtime.ListImagesResponse, error) {
	list, err := s.images(ctx, req.GetFilter())
	return &runtime.ListImagesResponse{Images: list}, err
}

// StreamImages is ListImages in pieces.
func (s *Server) StreamImages(req *runtime.StreamImagesRequest, out runtime.ImageService_StreamImagesServer) error {
	list, err := s.images(out.Context(), req.GetFilter())
	if err != nil {
		return err
	}
	return inPieces(list, func(part []*runtime.Image) error {
		return out.Send(&runtime.StreamImagesResponse{Images: part})
	})
}

func (s *Server) images(ctx context.Context, f *runtime.ImageFilter) ([]*runtime.Image, error) {
	if name := f.GetImage().GetImage(); name != "" {
		img, err := s.engine.Image(ctx, name)
		if fault.Of(err) == fault.NotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []*runtime.Image{toImage(img)}, nil
	}
	list, err := s.engine.Images(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]*runtime.Image, 0, len(list))
	for _, img := range list {
		out = append(out, toImage(img))
	}
	return out, nil
}

// ImageStatus tells about one image; about none when it is not here.
func (s *Server) ImageStatus(ctx context.Context, req *runtime.ImageStatusRequest) (*runtime.ImageStatusResponse, error) {
	name := req.GetImage().GetImage()
	if name == "" {
		return nil, fmt.Errorf("image is missing: %w", fault.Invalid)
	}
	img, err := s.engine.Image(ctx, name)
	if fault.Of(err) == fault.NotFound {
		return &runtime.ImageStatusResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	resp := &runtime.ImageStatusResponse{Image: toImage(img)}
	if req.GetVerbose() {
		resp.Info, err = verbose(map[string]any{
			"imageSpec": img.Config, "manifest": img.Manifest, "target": img.Target, "layers": img.Layers,
		})
	}
	return resp, err
}

// PullImage pulls an image and unpacks it.
func (s *Server) PullImage(ctx context.Context, req *runtime.PullImageRequest) (*runtime.PullImageResponse, error) {
	name := req.GetImage().GetImage()
	if name == "" {
		return nil, fmt.Errorf("image is missing: %w", fault.Invalid)
	}
	auth, err := credentials(req.GetAuth())
	if err != nil {
		return nil, err
	}
	began := time.Now()
	s.pulls.running.Add(1)
	img, err := s.engine.PullImage(ctx, name, image.PullOptions{Auth: auth})
	s.pulls.running.Add(-1)
	if err != nil {
		s.pulls.failed.Add(1)
		return nil, err
	}
	s.pulls.done.Add(1)
	s.log.Info("image pulled", "image", name, "size", img.Size, "took", time.Since(began))
	return &runtime.PullImageResponse{ImageRef: img.ID.String()}, nil
}

func credentials(a *runtime.AuthConfig) (*image.Auth, error) {
	if a == nil {
		return nil, nil
	}
	auth := &image.Auth{
		Username: a.GetUsername(), Password: a.GetPassword(),
		Identity: a.GetIdentityToken(), Token: a.GetRegistryToken(),
	}
	if a.GetAuth() != "" && auth.Username == "" {
		b, err := base64.StdEncoding.DecodeString(a.GetAuth())
		name, password, ok := strings.Cut(string(b), ":")
		if err != nil || !ok {
			return nil, fmt.Errorf("auth.auth is not name:password in base64: %w", fault.Invalid)
		}
		// Some clients pad with zero bytes.
		auth.Username, auth.Password = name, strings.Trim(password, "\x00")
	}
	if *auth == (image.Auth{}) {
		return nil, nil
	}
	return auth, nil
}

// RemoveImage takes an image away. One that is not here is away.
func (s *Server) RemoveImage(ctx context.Context, req *runtime.RemoveImageRequest) (*runtime.RemoveImageResponse, error) {
	name := req.GetImage().GetImage()
	if name == "" {
		return nil, fmt.Errorf("image is missing: %w", fault.Invalid)
	}
	img, err := s.engine.Image(ctx, name)
	if fault.Of(err) == fault.NotFound {
		return &runtime.RemoveImageResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	// By ID, which takes all names: to the interface a name means the image.
	if err := s.engine.RemoveImage(ctx, img.ID.String()); err != nil {
		return nil, err
	}
	return &runtime.RemoveImageResponse{}, nil
}

// ImageFsInfo tells how much room images and containers take. They lie on one
// filesystem.
func (s *Server) ImageFsInfo(ctx context.Context, _ *runtime.ImageFsInfoRequest) (*runtime.ImageFsInfoResponse, error) {
	bytes, inodes, err := s.engine.ImageUsage(ctx)
	if err != nil {
		return nil, err
	}
	usage := []*runtime.FilesystemUsage{{
		Timestamp: time.Now().UnixNano(), FsId: &runtime.FilesystemIdentifier{Mountpoint: s.cfg.ImageDir},
		UsedBytes: value(bytes), InodesUsed: value(inodes),
	}}
	return &runtime.ImageFsInfoResponse{ImageFilesystems: usage, ContainerFilesystems: usage}, nil
}

func value(v uint64) *runtime.UInt64Value { return &runtime.UInt64Value{Value: v} }

// toImage shows an image that was built or loaded here, and is in no registry, as
// pinned: when the disk fills up the kubelet deletes what it takes for a copy.
func toImage(img image.Image) *runtime.Image {
	out := &runtime.Image{
		Id: img.ID.String(), RepoTags: img.Names, RepoDigests: img.Digests,
		Size: uint64(img.Size), Pinned: img.Pinned || !img.Origin,
	}
	// The kubelet must know whether an image would run as root.
	user, _, _ := strings.Cut(img.Config.Config.User, ":")
	if uid, err := strconv.ParseInt(user, 10, 64); err == nil {
		out.Uid = &runtime.Int64Value{Value: uid}
	} else {
		out.Username = user
	}
	return out
}
