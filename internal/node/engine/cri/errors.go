package cri

import (
	"context"
	"errors"
	"log/slog"
	"path"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sampan-cloud/sampan/internal/base/fault"
)

// codeOf maps kinds of failure to gRPC's codes. The kubelet acts on NotFound
// and DeadlineExceeded, people on the text.
func codeOf(k fault.Kind) codes.Code {
	switch k {
	case "":
		return codes.OK
	case fault.Invalid:
		return codes.InvalidArgument
	case fault.NotFound:
		return codes.NotFound
	case fault.Exists:
		return codes.AlreadyExists
	case fault.Unauthorized:
		return codes.Unauthenticated
	case fault.Forbidden:
		return codes.PermissionDenied
	case fault.Precondition, fault.Unsupported:
		// Unimplemented would say that there is no such call: clients stop asking.
		return codes.FailedPrecondition
	case fault.Exhausted:
		return codes.ResourceExhausted
	case fault.Unavailable:
		return codes.Unavailable
	case fault.Timeout:
		return codes.DeadlineExceeded
	case fault.Canceled:
		return codes.Canceled
	case fault.Corrupt:
		return codes.DataLoss
	}
	return codes.Unknown
}

// answer gives err the form in which it leaves the process.
func answer(err error) error {
	if err == nil {
		return nil
	}
	var already interface{ GRPCStatus() *status.Status }
	if errors.As(err, &already) {
		return err
	}
	return status.Error(codeOf(fault.Of(err)), err.Error())
}

// unary answers one call and logs it once if it failed.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	var resp any
	err := checkRequest(req)
	if err == nil {
		resp, err = h(ctx, req)
	}
	s.report(ctx, info.FullMethod, err)
	return resp, answer(err)
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	err := h(srv, ss)
	if ss.Context().Err() == nil {
		s.report(ss.Context(), info.FullMethod, err)
	}
	return answer(err)
}

// report logs a failed call. That something is not there is an ordinary answer:
// the kubelet asks about what it has just removed.
func (s *Server) report(ctx context.Context, method string, err error) {
	if err == nil {
		return
	}
	level := slog.LevelWarn
	if k := fault.Of(err); k == fault.NotFound || k == fault.Canceled || status.Code(err) == codes.NotFound {
		level = slog.LevelDebug
	}
	s.log.Log(ctx, level, "cri call failed", "call", path.Base(method), "err", err)
}
