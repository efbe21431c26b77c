"""RoutingService: which provider serves whom; needs the scope `admin`."""

from collections.abc import Sequence

from clarion.routing.v1 import routing_service_pb2 as pb
from clarion.types.v1 import channel_pb2
from clarion_client._rpc import ServiceContract
from clarion_client.enums import Channel

_contract = ServiceContract(pb.DESCRIPTOR, "RoutingService")


class RouteCalls:
    """Routes."""

    @_contract.rpc("PutRoutes", pb.PutRoutesRequest, pb.PutRoutesResponse)
    def put(self, app: str, channel: Channel, routes: Sequence[pb.Route]) -> pb.PutRoutesRequest:
        """Replaces the routes of one channel. Raises InvalidArgument (INVALID_FIELD, PROVIDER_NOT_FOUND)."""
        return pb.PutRoutesRequest(app=app, channel=channel_pb2.Channel.ValueType(channel), routes=routes)

    @_contract.rpc("ListRoutes", pb.ListRoutesRequest, pb.ListRoutesResponse)
    def list(self, app: str, *, channel: Channel | None = None) -> pb.ListRoutesRequest:
        """The app's routes, of all channels or one."""
        return pb.ListRoutesRequest(app=app, channel=channel_pb2.Channel.ValueType(channel or 0))
