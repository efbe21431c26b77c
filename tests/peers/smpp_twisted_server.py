"""An SMSC on smpp.twisted3. The last two digits of the number choose what happens to a message.

Runs in the environment of requirements.lock; started by test_peer_smpp.py.
"""

import json
import sys
from itertools import count

from smpp.pdu.pdu_types import CommandStatus  # type: ignore[import-not-found]
from smpp.twisted.config import SMPPServerConfig  # type: ignore[import-not-found]
from smpp.twisted.protocol import DataHandlerResponse  # type: ignore[import-not-found]
from smpp.twisted.server import SMPPServerFactory  # type: ignore[import-not-found]
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse  # type: ignore[import-not-found]
from twisted.cred.portal import IRealm, Portal  # type: ignore[import-not-found]
from twisted.internet import reactor  # type: ignore[import-not-found]
from zope.interface import implementer  # type: ignore[import-not-found]

FAILURES = {
    "08": CommandStatus.ESME_RSYSERR,
    "11": CommandStatus.ESME_RINVDSTADR,
    "88": CommandStatus.ESME_RTHROTTLED,
}
_ids = count(1)
_told = sys.stdout


def say(said: dict[str, object]) -> None:
    _told.write(json.dumps(said) + "\n")
    _told.flush()


@implementer(IRealm)
class Realm:
    def requestAvatar(self, avatar_id: object, mind: object, *interfaces: object) -> tuple[str, object, object]:
        return "SMPP", avatar_id, lambda: None


def take(system_id: str, protocol: object, pdu: object) -> object:
    """Answer one submit_sm."""
    params = getattr(pdu, "params")  # noqa: B009  # the wheel is untyped
    to = params["destination_addr"].decode()
    say(
        {
            "event": "submit",
            "to": to,
            "from": params["source_addr"].decode(),
            "text": params["short_message"].decode("latin-1"),
            "registered": 1 if "SMSC_DELIVERY_RECEIPT_REQUESTED" in str(params["registered_delivery"]) else 0,
        }
    )
    failure = FAILURES.get(to[-2:])
    if failure is not None:
        return failure
    return DataHandlerResponse(status=CommandStatus.ESME_ROK, message_id=b"%08x" % next(_ids))


def main() -> None:
    sys.stdout = sys.stderr  # smpp.pdu prints what it compares
    checker = InMemoryUsernamePasswordDatabaseDontUse()
    checker.addUser("clarion", "secret")
    portal = Portal(Realm())
    portal.registerChecker(checker)
    config = SMPPServerConfig(msgHandler=take, systems={"clarion": {"max_bindings": 4}})
    listening = reactor.listenTCP(0, SMPPServerFactory(config, auth_portal=portal), interface="127.0.0.1")
    reactor.callWhenRunning(lambda: say({"port": listening.getHost().port}))
    reactor.run()


if __name__ == "__main__":
    main()
