"""One SMTP connection of a client: RFC 5321 with STARTTLS, AUTH PLAIN and LOGIN, PIPELINING, SIZE, SMTPUTF8, DSN."""

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from clarion_sandbox.answers import Row, Special, at_data_stage, bounces_later

from .command import SyntaxFault, check_mailbox, envelope_id, notify, original_recipient, parse_path
from .framing import END_OF_DATA, MAX_TEXT_LINE_BYTES, has_bare_newline, longest_line, unstuff
from .relay import Envelope, Recipient, Relay, enhanced

MAX_MESSAGE_BYTES = 10 << 20
_MAX_LINE_BYTES = 4096
_MAX_RECIPIENTS = 100
_MAX_FAULTS = 20
_IDLE_SECONDS = 300.0
_BUFFER_BYTES = 1 << 16
_MAIL_PARAMETERS = frozenset(("SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID"))
_RCPT_PARAMETERS = frozenset(("NOTIFY", "ORCPT"))


class SessionHost(Protocol):
    """What a session needs of its listener."""

    sessions: "set[SmtpSession]"

    def upgrade(self, session: "SmtpSession", transport: asyncio.Transport) -> None:
        """Start TLS on the connection, then call ``session.secured``."""


@dataclass(slots=True)
class _Transaction:
    sender: str
    utf8: bool
    recipients: list[Recipient]
    envelope_id: str = ""
    returns_all: bool = True
    end: Row | Special | None = None


class SmtpSession(asyncio.Protocol):
    """The protocol object of one connection. Replies are written in the order of the commands."""

    def __init__(self, relay: Relay, host: SessionHost, *, secure: bool) -> None:
        self._relay = relay
        self._host = host
        self._secure = secure
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._searched = 0
        self._blocked = False
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._heard = self._loop.time()
        self._greeted = False
        self._authenticated = False
        self._faults = 0
        self._transaction: _Transaction | None = None
        self._consume: Callable[[], bool] = self._consume_command
        self._answer_challenge: Callable[[str], None] | None = None
        self._oversize = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._host.sessions.add(self)
        self._watch_idle()
        self._reply(220, "sandbox.invalid ESMTP Clarion sandbox")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; a message without its end is forgotten."""
        self._transport = None
        self._blocked = True
        self._host.sessions.discard(self)
        for timer in (self._timer, self._idle):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._heard = self._loop.time()
        self._buffer += data
        self._advance()
        if self._blocked and len(self._buffer) > _BUFFER_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def secured(self, transport: asyncio.Transport) -> None:
        """TLS is up: everything the client said before is forgotten (RFC 3207 §4.2)."""
        self._transport = transport
        self._secure = True
        self._greeted = False
        self._transaction = None
        self._unblock()

    def close(self) -> None:
        """Flush and close."""
        self._blocked = True
        if self._transport is not None:
            self._transport.close()

    def _advance(self) -> None:
        while not self._blocked and self._consume():
            pass

    def _unblock(self) -> None:
        self._timer = None
        self._blocked = False
        if self._transport is not None:
            self._transport.resume_reading()
        self._advance()

    def _reply(self, code: int, *lines: str, close: bool = False) -> None:
        text = "".join(f"{code}-{line}\r\n" for line in lines[:-1]) + f"{code} {lines[-1]}\r\n"
        latency = self._relay.latency()
        if latency:
            self._blocked = True
            self._timer = self._loop.call_later(latency, self._write_late, text.encode(), close)
        else:
            self._write(text.encode(), close)

    def _write_late(self, data: bytes, close: bool) -> None:
        self._write(data, close)
        if not close:
            self._unblock()

    def _write(self, data: bytes, close: bool) -> None:
        if self._transport is not None:
            self._transport.write(data)
        if close:
            self.close()

    def _fault(self, code: int, text: str) -> None:
        self._faults += 1
        if self._faults > _MAX_FAULTS:
            self._reply(421, "4.7.0 Too many errors", close=True)
        else:
            self._reply(code, text)

    def _consume_command(self) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                self._reply(500, "5.5.2 Line too long", close=True)
            return False
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        if has_bare_newline(line):
            self._refuse_bare_newline()
            return False
        if len(line) > _MAX_LINE_BYTES:
            self._fault(500, "5.5.2 Line too long")
            return True
        try:
            text = line[:-2].decode("utf-8")
        except UnicodeDecodeError:
            self._fault(500, "5.5.2 Not UTF-8")
            return True
        if self._answer_challenge is not None:
            answer, self._answer_challenge = self._answer_challenge, None
            answer(text)
        else:
            self._dispatch(text)
        return True

    def _refuse_bare_newline(self) -> None:
        self._relay.refuse(521, "5.5.2 bare newline")
        self._reply(521, "5.5.2 Bare CR or LF received", close=True)

    def _dispatch(self, line: str) -> None:
        verb, _, argument = line.partition(" ")
        match verb.upper():
            case "RCPT":
                self._rcpt(argument)
            case "MAIL":
                self._mail(argument)
            case "DATA":
                self._data(argument)
            case "EHLO" | "HELO":
                self._hello(verb.upper(), argument)
            case "RSET":
                self._transaction = None
                self._reply(250, "2.0.0 Ok")
            case "NOOP":
                self._reply(250, "2.0.0 Ok")
            case "QUIT":
                self._reply(221, "2.0.0 Bye", close=True)
            case "AUTH":
                self._auth(argument)
            case "STARTTLS":
                self._starttls(argument)
            case "VRFY":
                self._reply(252, "2.1.5 Send some mail, I'll try my best")
            case _:
                self._fault(500, "5.5.1 Command unrecognized")

    def _hello(self, verb: str, argument: str) -> None:
        if not argument.strip():
            self._fault(501, f"5.5.4 Syntax: {verb} hostname")
            return
        self._greeted = True
        self._transaction = None
        if verb == "HELO":
            self._reply(250, "sandbox.invalid")
            return
        offers = ["sandbox.invalid", f"SIZE {MAX_MESSAGE_BYTES}", "8BITMIME", "SMTPUTF8", "PIPELINING", "DSN"]
        if self._secure:
            offers.append("AUTH PLAIN LOGIN")
        else:
            offers.append("STARTTLS")
        self._reply(250, *offers, "ENHANCEDSTATUSCODES")

    def _starttls(self, argument: str) -> None:
        if self._secure:
            self._fault(503, "5.5.1 TLS is already active")
        elif argument.strip():
            self._fault(501, "5.5.4 STARTTLS takes no argument")
        elif self._buffer:
            # Commands sent along in clear would run inside TLS: the STARTTLS injection of CVE-2011-0411.
            self._relay.refuse(521, "5.5.1 data after STARTTLS")
            self._reply(521, "5.5.1 Data after STARTTLS", close=True)
        elif self._transport is not None:
            self._transport.write(b"220 2.0.0 Ready to start TLS\r\n")
            self._blocked = True
            self._host.upgrade(self, self._transport)

    def _auth(self, argument: str) -> None:
        mechanism, _, initial = argument.partition(" ")
        if not self._secure:
            self._fault(538, "5.7.11 Encryption required for requested authentication mechanism")
        elif not self._greeted or self._authenticated or self._transaction is not None:
            self._fault(503, "5.5.1 Bad sequence of commands")
        elif mechanism.upper() == "PLAIN":
            self._ask("", self._auth_plain) if not initial else self._auth_plain(initial)
        elif mechanism.upper() == "LOGIN":
            self._ask("VXNlcm5hbWU6", self._auth_login_name) if not initial else self._auth_login_name(initial)
        else:
            self._fault(504, "5.5.4 Unrecognized authentication mechanism")

    def _ask(self, challenge: str, answer: Callable[[str], None]) -> None:
        self._answer_challenge = answer
        self._reply(334, challenge)

    def _auth_plain(self, response: str) -> None:
        fields = _decode(response)
        parts = fields.split(b"\0") if fields is not None else []
        if len(parts) != 3:
            self._fault(501, "5.5.2 Cannot decode the response")
        else:
            self._authenticate(parts[1], parts[2])

    def _auth_login_name(self, response: str) -> None:
        username = _decode(response)
        if username is None:
            self._fault(501, "5.5.2 Cannot decode the response")
        else:
            self._ask("UGFzc3dvcmQ6", lambda answer: self._auth_login_password(username, answer))

    def _auth_login_password(self, username: bytes, response: str) -> None:
        password = _decode(response)
        if password is None:
            self._fault(501, "5.5.2 Cannot decode the response")
        else:
            self._authenticate(username, password)

    def _authenticate(self, username: bytes, password: bytes) -> None:
        if self._relay.authenticate(username, password):
            self._authenticated = True
            self._reply(235, "2.7.0 Authentication successful")
        else:
            self._relay.refuse(535, "5.7.8")
            self._fault(535, "5.7.8 Authentication credentials invalid")

    def _mail(self, argument: str) -> None:
        if not self._greeted or self._transaction is not None:
            self._fault(503, "5.5.1 Bad sequence of commands")
            return
        if not self._secure:
            self._fault(530, "5.7.0 Must issue a STARTTLS command first")
            return
        if not self._authenticated:
            self._fault(530, "5.7.0 Authentication required")
            return
        try:
            path = parse_path(argument, "FROM:")
            unknown = path.parameters.keys() - _MAIL_PARAMETERS
            if unknown or path.parameters.get("BODY", "7BIT").upper() not in ("7BIT", "8BITMIME"):
                raise SyntaxFault(555, "5.5.4 Parameter not recognized")
            size = path.parameters.get("SIZE", "0")
            if not size.isdecimal():
                raise SyntaxFault(501, "5.5.4 Bad SIZE")
            if len(size) > 10 or int(size) > MAX_MESSAGE_BYTES:
                raise SyntaxFault(552, "5.3.4 Message size exceeds fixed limit")
            utf8 = "SMTPUTF8" in path.parameters
            envid = envelope_id(path.parameters)
            if path.mailbox:
                check_mailbox(path.mailbox, utf8=utf8)
        except SyntaxFault as fault:
            self._fault(fault.code, fault.text)
            return
        returns_all = path.parameters.get("RET", "FULL").upper() == "FULL"
        self._transaction = _Transaction(path.mailbox, utf8, [], envid, returns_all)
        self._reply(250, "2.1.0 Ok")

    def _rcpt(self, argument: str) -> None:
        transaction = self._transaction
        if transaction is None:
            self._fault(503, "5.5.1 Bad sequence of commands")
            return
        try:
            path = parse_path(argument, "TO:")
            if path.parameters.keys() - _RCPT_PARAMETERS:
                raise SyntaxFault(555, "5.5.4 Parameter not recognized")
            wanted, original = notify(path.parameters), original_recipient(path.parameters)
            check_mailbox(path.mailbox, utf8=transaction.utf8)
        except SyntaxFault as fault:
            self._relay.refuse(fault.code, fault.text)
            self._fault(fault.code, fault.text)
            return
        if len(transaction.recipients) >= _MAX_RECIPIENTS:
            self._reply(452, "4.5.3 Too many recipients")
            return
        fate = self._relay.decide(path.mailbox)
        if fate is Special.HANG or fate is Special.CUT:
            self._go_silent(fate)
            return
        bounce: Row | None = None
        if isinstance(fate, Row) and bounces_later(fate):
            bounce = fate
        elif isinstance(fate, Row) and not at_data_stage(fate):
            self._reply(fate.status, f"{enhanced(fate)} {fate.reason}", close=fate.status == 421)
            return
        elif fate is not None:
            transaction.end = fate
        transaction.recipients.append(Recipient(path.mailbox, wanted, original, bounce))
        self._reply(250, "2.1.5 Ok")

    def _go_silent(self, fate: Special) -> None:
        self._blocked = True
        if fate in (Special.CUT, Special.LOST_CUT) and self._transport is not None:
            self._transport.abort()

    def _data(self, argument: str) -> None:
        if argument.strip():
            self._fault(501, "5.5.4 DATA takes no argument")
        elif self._transaction is None:
            self._fault(503, "5.5.1 Bad sequence of commands")
        elif not self._transaction.recipients:
            self._reply(554, "5.5.1 No valid recipients")
        else:
            self._consume = self._consume_data
            self._searched = 0
            self._oversize = False
            self._reply(354, "End data with <CR><LF>.<CR><LF>")

    def _consume_data(self) -> bool:
        if self._buffer.startswith(END_OF_DATA[2:]) and not self._oversize:
            length, past = 0, 3
        else:
            start = self._buffer.find(END_OF_DATA, self._searched)
            if start < 0:
                self._searched = max(0, len(self._buffer) - len(END_OF_DATA) + 1)
                if len(self._buffer) > MAX_MESSAGE_BYTES:
                    self._oversize = True
                    del self._buffer[: self._searched]
                    self._searched = 0
                return False
            length, past = start + 2, start + len(END_OF_DATA)
        raw = bytes(self._buffer[:length])
        del self._buffer[:past]
        self._consume = self._consume_command
        self._end_of_data(raw)
        return True

    def _end_of_data(self, raw: bytes) -> None:
        transaction, self._transaction = self._transaction, None
        if transaction is None:
            return
        if has_bare_newline(raw):
            self._refuse_bare_newline()
        elif self._oversize or len(raw) > MAX_MESSAGE_BYTES:
            self._refuse_message(transaction, 552, "5.3.4", "Message size exceeds fixed limit", len(raw))
        elif longest_line(raw) > MAX_TEXT_LINE_BYTES:
            self._refuse_message(transaction, 554, "5.6.0", "Line longer than 998 octets", len(raw))
        elif isinstance(transaction.end, Row):
            row = transaction.end
            self._refuse_message(transaction, row.status, enhanced(row), row.reason, len(raw))
        else:
            envelope = Envelope(
                transaction.sender, transaction.recipients, transaction.envelope_id, transaction.returns_all
            )
            queue_id = self._relay.accept(envelope, unstuff(raw), transaction.end or "250")
            if transaction.end is None:
                self._reply(250, f"2.0.0 Ok: queued as {queue_id}")
            else:
                self._go_silent(transaction.end)

    def _refuse_message(self, transaction: _Transaction, code: int, status: str, text: str, size: int) -> None:
        for recipient in transaction.recipients:
            self._relay.refuse(code, status, recipient.mailbox, size)
        self._reply(code, f"{status} {text}", close=code == 421)

    def _watch_idle(self) -> None:
        quiet = self._loop.time() - self._heard
        if quiet >= _IDLE_SECONDS:
            self._reply(421, "4.4.2 Timeout", close=True)
        else:
            self._idle = self._loop.call_later(_IDLE_SECONDS - quiet, self._watch_idle)


def _decode(response: str) -> bytes | None:
    try:
        return base64.b64decode(response.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
