"""Channels: how a target is reached, and which targets may be reached without TLS."""

import ipaddress
import json
import os
from importlib.metadata import version
from pathlib import Path

import grpc

ChannelOptions = tuple[tuple[str, str | int], ...]

_MAX_REQUEST_BYTES = 4 << 20
_MAX_ANSWER_BYTES = 16 << 20
_SERVICE_CONFIG = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})


class InsecureTarget(ValueError):
    """Clarion is only reached without TLS on loopback: key, secret and contents would travel in the clear."""


def channel_options(*, insecure: bool) -> ChannelOptions:
    """Options of every channel.

    The server allows a ping each 20 s, so 30 s is safe. Retries are this library's own: gRPC's know nothing of event
    ids, so a policy from DNS is not taken either. Reconnecting is quick because a retry needs a connection.
    """
    options: ChannelOptions = (
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.max_send_message_length", _MAX_REQUEST_BYTES),
        ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.primary_user_agent", f"clarion-client-python/{version('clarion-client')}"),
    )
    # A proxy named by the environment would carry plain text off this machine.
    return (*options, ("grpc.enable_http_proxy", 0)) if insecure else options


def tls_credentials(ca_file: str | os.PathLike[str] | bytes | None) -> grpc.ChannelCredentials:
    """TLS that trusts `ca_file` (a path, or PEM itself as bytes); None: the roots that gRPC brings. Raises OSError."""
    roots = ca_file if ca_file is None or isinstance(ca_file, bytes) else Path(ca_file).read_bytes()
    return grpc.ssl_channel_credentials(roots)


def certificate_name(target: str) -> ChannelOptions:
    """The option that names whom to expect behind a list of addresses ("ipv4:10.0.0.1:443,10.0.0.2:443").

    gRPC would compare the whole list with the certificate, which nothing can match. All gateways share one name, so the
    first address stands for it; a name from DNS needs none of this and is the better target.
    """
    scheme, _, addresses = target.partition(":")
    if scheme not in ("ipv4", "ipv6") or "," not in addresses:
        return ()
    return (("grpc.ssl_target_name_override", _host(addresses.partition(",")[0])),)


def require_loopback(target: str) -> None:
    """Raises InsecureTarget unless every address of `target` is this machine's own."""
    if not is_loopback(target):
        raise InsecureTarget(f"insecure=True is refused for {target!r}: only loopback is reached without TLS")


def is_loopback(target: str) -> bool:
    """Whether a gRPC target (https://github.com/grpc/grpc/blob/master/doc/naming.md) can only be this machine."""
    scheme, _, rest = target.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return True
    if scheme in ("ipv4", "ipv6"):
        return all(_is_loopback_host(_host(address)) for address in rest.split(","))
    if scheme == "dns":
        # With an authority ("dns://8.8.8.8/localhost") somebody else says what localhost is.
        authority, slash, name = rest.removeprefix("//").partition("/") if rest.startswith("//") else ("", "/", rest)
        return not authority and bool(slash) and _is_loopback_host(_host(name))
    return "/" not in target and _is_loopback_host(_host(target))


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.rpartition(":")[0] if address.count(":") == 1 else address


def _is_loopback_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
