"""``python -m clarion_local.zygote CONTROL_FD MODULE…``: import the modules, then fork on request."""

import gc
import importlib
import os
import socket
import sys
import time

from clarion_local.zygote import child
from clarion_local.zygote.forkserver import ForkServer
from clarion_local.zygote.messages import Ready, encode


def main() -> int | str | None:
    """Gives the exit status, of the zygote or, after a fork, of the daemon."""
    control = socket.socket(fileno=int(sys.argv[1]))
    # Garbage collected before the freeze would leave holes that children fill, page by page.
    gc.disable()
    started = time.process_time()
    for module in sys.argv[2:]:
        importlib.import_module(module)
    gc.freeze()
    server = ForkServer(control)
    control.sendall(encode(Ready(time.process_time() - started)))
    pid = os.getpid()
    request = server.serve()
    if request is None:
        return 0
    child.become(request, pid)
    return child.run(request)


if __name__ == "__main__":
    sys.exit(main())
