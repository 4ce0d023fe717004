package forwarding

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
)

// newProxy passes calls on to the runtime as they come, of whatever service and method: a new one of upstream's too.
func newProxy(runtime grpc.ClientConnInterface, streams streaming.Server) *grpc.Server {
	proxied := proxy{runtime, streams}
	return grpc.NewServer(
		grpc.ForceServerCodec(raw{}),
		grpc.UnknownServiceHandler(proxied.handle),
		grpc.MaxRecvMsgSize(largestMessage),
	)
}

type proxy struct {
	runtime grpc.ClientConnInterface
	streams streaming.Server
}

// handle is a grpc.StreamHandler. Calls with one message each way are streams too, on the wire.
func (p proxy) handle(_ any, caller grpc.ServerStream) error {
	method, ok := grpc.MethodFromServerStream(caller)
	if !ok {
		return status.Error(codes.Internal, "a call without a method")
	}
	if method == cri.RuntimeService_PortForward_FullMethodName {
		return p.forward(caller)
	}
	return p.pass(method, caller)
}

// forward answers where a port is forwarded.
func (p proxy) forward(caller grpc.ServerStream) error {
	var message []byte
	if err := caller.RecvMsg(&message); err != nil {
		return err
	}
	var request cri.PortForwardRequest
	if err := proto.Unmarshal(message, &request); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	response, err := p.streams.GetPortForward(&request)
	if err != nil {
		return err
	}
	if message, err = proto.Marshal(response); err != nil {
		return err
	}
	return caller.SendMsg(&message)
}

// pass makes the same call of the runtime, and gives back what it answers.
func (p proxy) pass(method string, caller grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(caller.Context())
	defer cancel()
	if found, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, found)
	}
	shape := grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	runtime, err := p.runtime.NewStream(ctx, &shape, method, grpc.ForceCodec(raw{}))
	if err != nil {
		return err
	}
	go func() {
		if copyMessages(runtime, caller) != nil {
			cancel()
			return
		}
		_ = runtime.CloseSend()
	}()
	err = copyMessages(caller, runtime)
	caller.SetTrailer(runtime.Trailer())
	return err
}

// sender and receiver are the halves of both kinds of streams.
type (
	sender   interface{ SendMsg(message any) error }
	receiver interface{ RecvMsg(message any) error }
)

// copyMessages returns nil at the end of the stream.
func copyMessages(to sender, from receiver) error {
	for {
		var message []byte
		if err := from.RecvMsg(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := to.SendMsg(&message); err != nil {
			return err
		}
	}
}

// raw is a codec for messages that nobody looks into: pointers to their bytes.
type raw struct{}

// Name is that of the kubelet's codec, and part of the content type.
func (raw) Name() string { return "proto" }

func (raw) Marshal(message any) ([]byte, error) {
	bytes, ok := message.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not bytes", message)
	}
	return *bytes, nil
}

func (raw) Unmarshal(data []byte, message any) error {
	bytes, ok := message.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is not bytes", message)
	}
	*bytes = data
	return nil
}
