"""A Postfix of one's own: configuration, queue and credentials in one folder, unprivileged ports, ended by its pid."""

import asyncio
import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .tools import skip

USERNAME, PASSWORD = "clarion", "secret"
MAX_MAIL_BYTES = 40_000
_START_SECONDS = 20.0
_COMMAND_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 0.05
_PROGRAMS = ("postfix", "postqueue", "saslpasswd2")

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file_prefixes = {folder}
maillog_file = {folder}/log
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.clarion.test
mydestination =
local_recipient_maps =
alias_maps =
relayhost = [127.0.0.1]:{next_hop}
smtp_host_lookup = native
smtp_dns_support_level = disabled
message_size_limit = {size}
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = clarion.test
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions =
    check_recipient_access inline:{{ {{ nobody@clarion.test = 550 5.1.1 User unknown }} }}
smtpd_client_connection_count_limit = 0
"""

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
relay     unix - - n - - smtp
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
tlsmgr    unix - - n 1000? 1 tlsmgr
scache    unix - - n - 1 scache
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""

_SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN LOGIN
sasldb_path: {folder}/sasldb2
"""


@dataclass(frozen=True)
class Postfix:
    """A running Postfix."""

    port: int
    folder: Path

    async def queue(self) -> list[Mapping[str, object]]:
        """The mails that wait for another try."""
        out = await _run("postqueue", "-c", str(self.folder / "etc"), "-j")
        return [json.loads(line) for line in out.splitlines()]

    async def queue_of(self, count: int) -> list[Mapping[str, object]]:
        """The same once there are so many; Postfix tells nobody when it has put a mail aside. Raises `TimeoutError`."""
        async with asyncio.timeout(_COMMAND_SECONDS):
            while True:
                waiting = await self.queue()
                if len(waiting) >= count:
                    return waiting
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)


@asynccontextmanager
async def running_postfix(certificate: Path, key: Path, next_hop: int) -> AsyncIterator[Postfix]:
    """Run Postfix while inside; it takes mail from authenticated clients and hands everything to the port `next_hop`.

    Skips the test where Postfix is not installed or this is not root, whose privileges its master needs.
    """
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        skip(f"Postfix needs root and the programs {', '.join(_PROGRAMS)} (packages postfix, sasl2-bin)")
    # Postfix's processes give up root, so they must be able to enter every folder above their own.
    folder = Path(tempfile.mkdtemp(prefix="clarion-postfix-"))
    try:
        port = _free_port()
        await asyncio.to_thread(_configure, folder, port, next_hop, certificate, key)
        await _run("saslpasswd2", "-p", "-c", "-f", f"{folder}/sasldb2", "-u", "clarion.test", USERNAME, given=PASSWORD)
        await asyncio.to_thread(shutil.chown, folder / "sasldb2", "postfix")
        script = await asyncio.create_subprocess_exec(
            "postfix",
            "-c",
            str(folder / "etc"),
            "start-fg",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await _greeted(port, script, folder / "log")
            yield Postfix(port, folder)
        finally:
            await asyncio.to_thread(_end, folder)
            await asyncio.wait_for(script.wait(), _COMMAND_SECONDS)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder)


def _configure(folder: Path, port: int, next_hop: int, certificate: Path, key: Path) -> None:
    folder.chmod(0o755)
    for name in ("etc", "etc/sasl", "queue", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    for source, name in ((certificate, "certificate.pem"), (key, "key.pem")):
        shutil.copy(source, folder / name)
    (folder / "key.pem").chmod(0o600)
    main = _MAIN.format(
        folder=folder,
        next_hop=next_hop,
        size=MAX_MAIL_BYTES,
        certificate=folder / "certificate.pem",
        key=folder / "key.pem",
    )
    (folder / "etc" / "main.cf").write_text(main)
    (folder / "etc" / "master.cf").write_text(_MASTER.format(port=port))
    # Where Debian's Postfix looks for it.
    (folder / "etc" / "sasl" / "smtpd.conf").write_text(_SASL.format(folder=folder))


def _end(folder: Path) -> None:
    # start-fg is a script whose master is a child of its own.
    pid = folder / "queue" / "pid" / "master.pid"
    if pid.exists():
        with suppress(ProcessLookupError, ValueError):
            os.kill(int(pid.read_text("ascii")), signal.SIGTERM)


async def _greeted(port: int, script: asyncio.subprocess.Process, log: Path) -> None:
    # Postfix tells nobody when its master listens, so connect until it does.
    try:
        async with asyncio.timeout(_START_SECONDS):
            while script.returncode is None:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                    continue
                greeting = await reader.readline()
                writer.close()
                if greeting.startswith(b"220 "):
                    return
                break
    except TimeoutError:
        pass
    raise RuntimeError(f"Postfix did not start: {await asyncio.to_thread(_end_of, log)}")


def _end_of(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-2000:] if log.exists() else "it wrote no log"


async def _run(*command: str, given: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(process.communicate(given.encode()), _COMMAND_SECONDS)
    if process.returncode:
        raise RuntimeError(f"{command[0]}: {errors.decode()}")
    return out.decode()


def _free_port() -> int:
    # master.cf takes no port 0; between here and Postfix's bind another process could take it, which fails loudly.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
