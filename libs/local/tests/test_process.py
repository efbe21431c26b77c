import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from clarion_local.process import Command, CommandFailed, ManagedProcess, StartFailed, run_to_end

GRACE = timedelta(seconds=5)
READY = timedelta(seconds=10)


def python(tmp_path: Path, code: str) -> Command:
    return Command("sample", [sys.executable, "-I", "-S", "-u", "-c", code], log=tmp_path / "log")


def has_ended(pid: int) -> asyncio.Event:
    """An event that is set when a process, not necessarily a child of ours, ends."""
    ended = asyncio.Event()
    descriptor = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()

    def notice() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        ended.set()

    loop.add_reader(descriptor, notice)
    return ended


async def test_exit_code_is_reported_to_every_waiter(tmp_path: Path) -> None:
    process = await ManagedProcess.start(python(tmp_path, "raise SystemExit(3)"))

    assert tuple(await asyncio.gather(process.wait(), process.wait())) == (3, 3)
    assert process.returncode == 3


async def test_stop_ends_a_willing_process_with_the_stop_signal(tmp_path: Path) -> None:
    process = await ManagedProcess.start(python(tmp_path, "print('up'); import time; time.sleep(60)"))
    await process.ready_when_logged("up", READY)

    assert await process.stop(GRACE) == -signal.SIGTERM
    assert await process.stop(GRACE) == -signal.SIGTERM


async def test_stop_kills_a_process_that_ignores_the_stop_signal(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
    process = await ManagedProcess.start(python(tmp_path, code))
    await process.ready_when_logged("up", READY)

    assert await process.stop(timedelta(milliseconds=20)) == -signal.SIGKILL


async def test_cancelled_stop_still_kills(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
    process = await ManagedProcess.start(python(tmp_path, code))
    await process.ready_when_logged("up", READY)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await process.stop(timedelta(seconds=60))

    assert await asyncio.wait_for(process.wait(), 5) == -signal.SIGKILL


async def test_kill_takes_the_children_of_the_process_along(tmp_path: Path) -> None:
    code = (
        "import subprocess, time; p = subprocess.Popen(['sleep', '60']); open('pid', 'w').write(str(p.pid));"
        "print('up'); time.sleep(60)"
    )
    command = Command("sample", [sys.executable, "-u", "-c", code], log=tmp_path / "log", cwd=tmp_path)
    process = await ManagedProcess.start(command)
    await process.ready_when_logged("up", READY)
    ended = has_ended(int((tmp_path / "pid").read_text()))

    await process.stop(timedelta(0))

    await asyncio.wait_for(ended.wait(), 5)


async def test_process_has_a_session_of_its_own(tmp_path: Path) -> None:
    process = await ManagedProcess.start(python(tmp_path, "import time; time.sleep(60)"))

    assert os.getsid(process.pid) == process.pid != os.getsid(0)

    await process.stop(timedelta(0))


async def test_early_end_is_a_start_failure_with_the_end_of_the_log(tmp_path: Path) -> None:
    process = await ManagedProcess.start(python(tmp_path, "raise SystemExit('no such port')"))

    with pytest.raises(StartFailed, match="ended with code 1") as failure:
        await process.ready_when_logged("up", READY)

    assert failure.value.log_tail == "no such port"


async def test_log_of_an_earlier_start_does_not_count_as_ready(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("up\n")
    process = await ManagedProcess.start(python(tmp_path, "import time; time.sleep(60)"))

    with pytest.raises(StartFailed, match="not ready within"):
        await process.ready_when_logged("up", timedelta(milliseconds=100))

    assert process.returncode is not None


async def test_missing_program_is_a_start_failure(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="not a program"):
        await ManagedProcess.start(Command("sample", [tmp_path / "absent"], log=tmp_path / "log"))


async def test_environment_is_replaced_when_given(tmp_path: Path) -> None:
    code = "import os; print(sorted(set(os.environ) - {'LC_CTYPE'}))"
    command = Command("sample", [sys.executable, "-I", "-S", "-c", code], log=tmp_path / "log", env={"ONLY": "1"})
    process = await ManagedProcess.start(command)
    await process.wait()

    assert process.log_tail == "['ONLY']"


async def test_process_dies_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    supervisor = f"""
import asyncio, sys
from pathlib import Path
from clarion_local.process import Command, ManagedProcess

async def main():
    sleeper = [sys.executable, "-I", "-S", "-c", "import time; print('asleep', flush=True); time.sleep(60)"]
    process = await ManagedProcess.start(Command("sleeper", sleeper, log=Path({str(tmp_path / "sleeper.log")!r})))
    print("pid", process.pid, flush=True)
    await process.wait()

asyncio.run(main())
"""
    command = Command("supervisor", [sys.executable, "-c", supervisor], log=tmp_path / "log")
    process = await ManagedProcess.start(command)
    await process.ready_when_logged("pid", READY)
    ended = has_ended(int(process.log_tail.split()[1]))

    process.send_signal(signal.SIGKILL)

    await asyncio.wait_for(ended.wait(), 5)
    await process.wait()


async def test_no_zombie_is_left(tmp_path: Path) -> None:
    process = await ManagedProcess.start(python(tmp_path, "pass"))
    await process.wait()

    assert not psutil.pid_exists(process.pid)


async def test_failing_command_says_what_it_wrote() -> None:
    with pytest.raises(CommandFailed, match="ended with code 1") as failure:
        await run_to_end("sample", [sys.executable, "-c", "raise SystemExit('bad option')"], limit=GRACE)

    assert failure.value.log_tail == "bad option\n"


async def test_command_that_takes_too_long_is_killed() -> None:
    with pytest.raises(CommandFailed, match="did not end"):
        await run_to_end("sample", ["/bin/sleep", "60"], limit=timedelta(milliseconds=50))
