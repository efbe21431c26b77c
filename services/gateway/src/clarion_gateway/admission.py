"""What a key may do beyond its scopes: from where it may call, and how often. Every public method passes here."""

from collections.abc import Iterable

from clarion_gateway import quotas
from clarion_gateway.networks import FORWARDED_FOR, Network, caller_address, lies_in, peer_address
from clarion_gateway.quotas import Quotas
from clarion_gateway.standing import KeyStandings
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import Caller, current_caller
from clarion_kit.rpc.interceptor import Context
from clarion_ledger.app_keys import UNLIMITED, KeyLimits


class Admission:
    """Judges calls that the door let in."""

    def __init__(self, standings: KeyStandings, quotas: Quotas, proxies: Iterable[Network]) -> None:
        """`proxies`: whose X-Forwarded-For is believed."""
        self._standings = standings
        self._quotas = quotas
        self._proxies = tuple(proxies)

    async def admit(self, context: Context) -> None:
        """Raises NETWORK_NOT_ALLOWED, QUOTA_EXCEEDED."""
        caller = current_caller()
        limits = self._standings.limits(caller.key)
        if limits is UNLIMITED:
            return
        self.check_network(context)
        if limits.requests_per_second is not None:
            [refused] = await self._quotas.take(caller, quotas.requests(limits.requests_per_second))
            if refused is not None:
                raise refused

    def check_network(self, context: Context) -> None:
        """For every message of a stream, too, whose key may get other networks meanwhile. Raises NETWORK_NOT_ALLOWED."""
        caller = current_caller()
        limits = self._standings.limits(caller.key)
        if limits.networks and not self.allows(limits, context):
            raise DomainError(
                ErrorReason.NETWORK_NOT_ALLOWED,
                "the key may not be used from this address",
                metadata={"key": caller.key},
            )

    def allows(self, limits: KeyLimits, context: Context) -> bool:
        """Whether a key with these limits may be used from where the call comes from."""
        if not limits.networks:
            return True
        forwarded = [
            value
            for key, value in context.invocation_metadata() or ()
            if key == FORWARDED_FOR and isinstance(value, str)
        ]
        address = caller_address(peer_address(context.peer()), forwarded, self._proxies)
        return address is not None and lies_in(address, limits.networks)

    async def notifications(self, caller: Caller, count: int) -> list[DomainError | None]:
        """For each of `count` notifications None, or QUOTA_EXCEEDED."""
        per_day = self._standings.limits(caller.key).notifications_per_day
        if per_day is None or not count:
            return [None] * count
        return await self._quotas.take(caller, quotas.notifications(per_day), count)
