"""What a provider's answer said of an address, told to the preference service."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from clarion.internal.preference.v1 import preference_service_pb2 as preference
from clarion.internal.preference.v1.preference_service_pb2_grpc import PreferenceServiceStub
from clarion.suppression.v1 import suppression_pb2
from clarion_channels.engine.dead import DeadAddress
from clarion_kit.rpc.client import Peer

REPORT_TIMEOUT = timedelta(seconds=2)


async def report_dead(peer: Peer, addresses: Sequence[DeadAddress]) -> None:
    """Have dead addresses disabled, and those that opted out suppressed. Both may be repeated. Raises what `Peer.call` does."""
    stub = PreferenceServiceStub(peer.channel)
    service = "clarion.internal.preference.v1.PreferenceService"
    opted_out = [_opted_out(address) for address in addresses if address.opted_out]
    if opted_out:
        stops = preference.SuppressRequest(items=opted_out)
        await peer.call(stub.Suppress, stops, timeout=REPORT_TIMEOUT, name=f"{service}/Suppress")
    dead = [_dead(address) for address in addresses if not address.opted_out]
    if dead:
        request = preference.ReportDeadRequest(addresses=dead)
        await peer.call(stub.ReportDead, request, timeout=REPORT_TIMEOUT, name=f"{service}/ReportDead")


def _dead(address: DeadAddress) -> preference.ReportDeadRequest.DeadAddress:
    return preference.ReportDeadRequest.DeadAddress(
        app_id=address.app_id, address_id=address.address_id.bytes, dead_since_ms=_milliseconds(address.since)
    )


def _opted_out(address: DeadAddress) -> preference.SuppressRequest.Item:
    return preference.SuppressRequest.Item(
        key=preference.AddressKey(app_id=address.app_id, address_id=address.address_id.bytes),
        reason=suppression_pb2.SUPPRESSION_REASON_STOP_WORD,
        source=suppression_pb2.SUPPRESSION_SOURCE_PROVIDER,
        since_ms=_milliseconds(address.since),
    )


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)
