package cri

import (
	"fmt"

	"google.golang.org/grpc/metadata"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/sampan-cloud/sampan/internal/base/fault"
	"github.com/sampan-cloud/sampan/internal/node/engine"
)

// GetContainerEvents tells what happens to pods and containers until the client
// hangs up.
func (s *Server) GetContainerEvents(_ *runtime.GetEventsRequest, out runtime.RuntimeService_GetContainerEventsServer) error {
	events := s.engine.Events(out.Context(), owner)
	// The header tells the client that from now on it misses nothing.
	if err := out.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	for ev := range events {
		err := out.Send(&runtime.ContainerEventResponse{
			ContainerId: ev.ContainerID, ContainerEventType: eventType(ev.Type), CreatedAt: ev.Time.UnixNano(),
			PodSandboxStatus: podStatus(ev.Pod), ContainersStatuses: containerStatuses(ev.Containers),
		})
		if err != nil {
			return err
		}
	}
	if out.Context().Err() != nil {
		return nil
	}
	return fmt.Errorf("events: the client reads too slowly: %w", fault.Exhausted)
}

func eventType(t engine.EventType) runtime.ContainerEventType {
	switch t {
	case engine.EventStarted:
		return runtime.ContainerEventType_CONTAINER_STARTED_EVENT
	case engine.EventStopped:
		return runtime.ContainerEventType_CONTAINER_STOPPED_EVENT
	case engine.EventDeleted:
		return runtime.ContainerEventType_CONTAINER_DELETED_EVENT
	}
	return runtime.ContainerEventType_CONTAINER_CREATED_EVENT
}
