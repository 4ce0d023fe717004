"""Supervision of real processes: readiness, deaths, back-off, stops, logs, and questions over the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kins
from kins.errors import KinsError
from kins.supervise import Component, Supervisor, control, logs, process
from kins.supervise.component import ComponentStatus
from kins.supervise.process import SupervisedProcess
from kins.sys import process as kernel

SOURCES = Path(kins.__file__).resolve().parents[1]
LIMIT = 30.0
TURN = 0.01

# A process in Python: what it has to say goes to its log.
PRELUDE = """\
import os, signal, socket, sys, time
from pathlib import Path
def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.sendto(text, os.environ["NOTIFY_SOCKET"])
def say(text):
    os.write(1, text.encode() + b"\\n")
def await_file(name):
    while not Path(name).exists():
        time.sleep(0.01)
def on_stop(action):
    signal.signal(signal.SIGTERM, lambda *_: (action(), os._exit(0)))
def sleep():
    while True:
        signal.pause()
"""


class Bench:
    """A supervisor with its components' files in one directory, and every change of state as it was told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.changes: list[tuple[float, ComponentStatus]] = []
        self.supervisor = Supervisor(directory, self._changed)

    def _changed(self, supervised: SupervisedProcess) -> None:
        self.changes.append((asyncio.get_running_loop().time(), supervised.status()))

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def start(self, script: str, name: str = "one", **fields: Any) -> SupervisedProcess:
        """Start a component that runs this Python; without `readiness` it tells when it is ready."""
        argv = (sys.executable, "-I", "-S", "-c", PRELUDE + script, name)
        return self.start_program(argv, name, **{"readiness": "notify", **fields})

    def start_program(self, argv: tuple[str, ...], name: str = "one", **fields: Any) -> SupervisedProcess:
        component = Component(name=name, argv=argv, **{"environment": {}, "log": self.log(name), **fields})
        self.supervisor.start(component)
        found = self.supervisor.process(name)
        assert found is not None
        return found

    def said(self, name: str = "one") -> list[str]:
        return self.log(name).read_text().splitlines()


@contextlib.asynccontextmanager
async def bench(directory: Path) -> AsyncIterator[Bench]:
    """A bench whose processes are ended, whatever happens."""
    made = Bench(directory)
    try:
        yield made
    finally:
        await made.supervisor.stop()


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; it must come, and nobody asks how soon."""
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(TURN)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts that a test can wait for."""
    monkeypatch.setattr(process, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(process, "LONGEST_DELAY", 0.04)


# Components that need another one


@pytest.mark.usefixtures("quick")
def test_who_needs_another_is_killed_with_it_and_started_when_it_serves_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            go = tmp_path / "go"
            needed = on.start(f"await_file({str(go)!r}); notify(b'READY=1'); sleep()", name="needed")
            needing = on.start(
                "on_stop(lambda: say('asked to end')); notify(b'READY=1'); sleep()", name="needing", binds_to="needed"
            )
            assert needing.pid is None
            go.touch()
            await until(lambda: needing.ready)
            assert (needing.restarts, needing.failures) == (0, 0)
            first, before = needing.pid, needed.pid
            assert before is not None
            go.unlink()
            os.kill(before, signal.SIGKILL)
            await until(lambda: needed.pid not in (before, None) and needing.pid is None)
            assert (needing.status().state, needing.last_exit, on.said("needing")) == (
                "waiting-to-restart",
                "signal SIGKILL",
                [],
            )
            go.touch()
            await until(lambda: needing.ready)
            assert needing.pid != first
            assert (needing.restarts, needing.failures) == (1, 0)

    asyncio.run(run())


@pytest.mark.usefixtures("quick")
def test_who_needs_another_is_not_started_while_all_end(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            needed = on.start("notify(b'READY=1'); sleep()", name="needed", stop_rank=1)
            await until(lambda: needed.ready)
            needing = on.start("notify(b'READY=1'); sleep()", name="needing", binds_to="needed")
            await until(lambda: needing.ready)
        assert (needing.status().state, needed.status().state) == ("stopped", "stopped")
        assert (needing.restarts, needed.restarts) == (0, 0)

    asyncio.run(run())


# Start and readiness


def test_a_process_is_ready_when_it_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start(
                f"notify(b'STATUS=loading'); say('loading'); await_file({str(tmp_path / 'go')!r})\n"
                "notify(b'STATUS=serving\\nREADY=1\\n'); sleep()"
            )
            await until(lambda: on.log("one").exists() and on.said() == ["loading"])
            await asyncio.sleep(5 * TURN)
            assert (one.ready, one.status().state) == (False, "starting")
            (tmp_path / "go").touch()
            await until(lambda: one.ready)
            status = one.status()
            assert (status.state, status.restarts, status.last_exit) == ("ready", 0, None)
            assert status.pid is not None
            assert os.getpgid(status.pid) == status.pid
            assert status.memory_bytes > 0
            assert [each.state for _, each in on.changes] == ["starting", "ready"]

    asyncio.run(run())


@pytest.mark.parametrize("notice", ["READY=0", "NOTREADY=1", "ready=1", "STATUS=READY=1"])
def test_other_notices_say_nothing_of_readiness(tmp_path: Path, notice: str) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start(f"notify({notice.encode()!r}); say('told'); sleep()")
            await until(lambda: on.log("one").exists() and on.said() == ["told"])
            await asyncio.sleep(5 * TURN)
            assert not one.ready

    asyncio.run(run())


def test_without_notices_a_process_is_ready_by_being_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start_program(("/bin/sleep", "1000"))
            assert (one.ready, one.status().state) == (True, "ready")
            # Not the whole status: the program's memory grows between two looks.
            assert [(each.name, each.pid) for each in on.supervisor.status()] == [(one.component.name, one.pid)]
            assert on.supervisor.process("two") is None

    asyncio.run(run())


def test_a_process_gets_its_environment_and_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "secret")

    async def run() -> None:
        async with bench(tmp_path) as on:
            shell = ("/bin/sh", "-c", "/usr/bin/env; exec /bin/sleep 1000")
            on.start_program(shell, "notifying", environment={"THEIRS": "1"}, readiness="notify")
            on.start_program(shell, "other", environment={"THEIRS": "1"})
            for name, wanted in (("notifying", {"THEIRS", "NOTIFY_SOCKET"}), ("other", {"THEIRS"})):
                await until(lambda name=name: "THEIRS=1" in on.said(name))  # type: ignore[misc]
                # The shell itself sets these.
                assert {line.partition("=")[0] for line in on.said(name)} - {"PWD", "_", "SHLVL"} == wanted

    asyncio.run(run())


def test_a_process_stands_apart_from_the_command(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            script = (
                "say(f'{os.getcwd()} {os.getsid(0) == os.getpid()} {sys.stdin.read()!r}'); notify(b'READY=1'); sleep()"
            )
            one = on.start(script)
            await until(lambda: one.ready)
            assert on.said() == ["/ True ''"]

    asyncio.run(run())


@pytest.mark.usefixtures("quick")
def test_a_program_that_is_missing_is_tried_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            program = tmp_path / "program"
            one = on.start_program((str(program),))
            await until(lambda: one.restarts >= 2)
            status = one.status()
            assert (status.state, status.pid) == ("waiting-to-restart", None)
            assert "could not be started" in str(status.last_exit)
            assert "No such file" in str(status.last_exit)
            temporary = tmp_path / "temporary"
            temporary.write_text("#!/bin/sh\nexec /bin/sleep 1000\n")
            temporary.chmod(0o755)
            temporary.rename(program)
            await until(lambda: one.status().state == "ready")

    asyncio.run(run())


# Death and restart


def test_a_killed_process_comes_back_and_is_ready_only_then(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            # Ready at once the first time, the second time when it is told to.
            script = (
                f"first, go = Path({str(tmp_path / 'first')!r}), {str(tmp_path / 'go')!r}\n"
                "first.touch() if not first.exists() else await_file(go)\n"
                "notify(b'READY=1'); sleep()"
            )
            one = on.start(script)
            await until(lambda: one.ready)
            assert one.pid is not None
            before = one.pid
            os.kill(before, signal.SIGKILL)
            await until(lambda: one.pid not in (before, None))
            status = one.status()
            assert (status.state, status.restarts, status.last_exit) == ("starting", 1, "signal SIGKILL")
            (tmp_path / "go").touch()
            await until(lambda: one.ready)
            assert [each.state for _, each in on.changes] == [
                "starting",
                "ready",
                "waiting-to-restart",
                "starting",
                "ready",
            ]

    asyncio.run(run())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("death", "told"),
    [
        ("sys.exit(7)", "exit code 7"),
        ("sys.exit(0)", "exit code 0"),
        ("os.abort()", "signal SIGABRT"),
        # A real-time signal has a number only.
        ("os.kill(os.getpid(), signal.SIGRTMIN + 6)", f"signal {signal.SIGRTMIN + 6}"),
    ],
)
def test_every_death_is_told_and_followed_by_a_restart(tmp_path: Path, death: str, told: str) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start(f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); {death}")
            await until(lambda: one.restarts >= 2)
            assert one.last_exit == told

    asyncio.run(run())


def test_the_back_off_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "FIRST_DELAY", 0.02)

    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start_program(("/bin/false",))
            await until(lambda: one.restarts == 5)
            died = [when for when, status in on.changes if status.state == "waiting-to-restart"]
            started = [when for when, status in on.changes if status.state == "ready"]
            # A loaded machine makes them longer, never shorter.
            delays = [after - before for before, after in zip(died, started[1:], strict=False)]
            assert len(delays) == 4
            tick = asyncio.get_running_loop()._clock_resolution  # type: ignore[attr-defined]
            assert all(delay >= 0.02 * 2**turn - tick for turn, delay in enumerate(delays)), delays

    asyncio.run(run())


@pytest.mark.usefixtures("quick")
def test_the_back_off_is_capped(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start_program(("/bin/false",))
            # Doubling on would take 80 s.
            await until(lambda: one.restarts >= 13)
            assert one.failures >= 13

    asyncio.run(run())


@pytest.mark.usefixtures("quick")
def test_a_healthy_life_starts_the_back_off_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HEALTHY_AFTER", 0.0)

    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start_program(("/bin/sleep", "1000"))
            for death in (1, 2, 3):
                await until(lambda: one.pid is not None)
                assert one.pid is not None
                os.kill(one.pid, signal.SIGKILL)
                await until(lambda death=death: one.restarts == death)  # type: ignore[misc]
                assert one.failures == 1

    asyncio.run(run())


# Stop


def test_lower_ranks_are_gone_before_the_next_are_told(tmp_path: Path) -> None:
    record = tmp_path / "record"

    async def run() -> None:
        async with bench(tmp_path) as on:
            script = (
                f"record = os.open({str(record)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
                "def tell(word): os.write(record, f'{word} {sys.argv[1]}\\n'.encode())\n"
                "on_stop(lambda: (tell('told'), time.sleep(0.1), tell('gone')))\n"
                "notify(b'READY=1'); sleep()"
            )
            # Not in the order of their ranks.
            for name, rank in (("b", 1), ("c", 7), ("a", 0)):
                on.start(script, name, stop_rank=rank)
            await until(lambda: all(each.state == "ready" for each in on.supervisor.status()))
            await on.supervisor.stop()
            assert record.read_text().split("\n")[:-1] == ["told a", "gone a", "told b", "gone b", "told c", "gone c"]
            assert {each.state for each in on.supervisor.status()} == {"stopped"}
            assert {each.last_exit for each in on.supervisor.status()} == {"exit code 0"}

    asyncio.run(run())


def test_those_of_a_rank_are_stopped_together(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            # Neither ends before the other was told: one after the other, the first would have to be killed.
            for name, peer in (("a", "b"), ("b", "a")):
                mine, theirs = (str(tmp_path / f"{each}.told") for each in (name, peer))
                on.start(
                    f"on_stop(lambda: (Path({mine!r}).touch(), await_file({theirs!r})))\nnotify(b'READY=1'); sleep()",
                    name,
                )
            await until(lambda: all(each.state == "ready" for each in on.supervisor.status()))
            await on.supervisor.stop()
            assert [each.last_exit for each in on.supervisor.status()] == ["exit code 0", "exit code 0"]

    asyncio.run(run())


def test_who_does_not_stop_is_killed_after_the_grace(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start(
                "signal.signal(signal.SIGTERM, lambda *_: say('told'))\nnotify(b'READY=1')\nwhile True: sleep()"
            )
            await until(lambda: one.ready)
            pid = one.pid
            assert pid is not None
            started = kernel.start_time(pid)
            await one.stop(grace=0.2)
            assert on.said() == ["told"]
            assert one.last_exit == "signal SIGKILL"
            assert one.status().state == "stopped"
            assert not kernel.is_alive(pid, started)

    asyncio.run(run())


def test_a_process_that_waits_for_its_restart_is_not_started_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "FIRST_DELAY", 0.1)

    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start_program(("/bin/sh", "-c", "echo started"))
            await until(lambda: one.status().state == "waiting-to-restart")
            await on.supervisor.stop()
            assert one.status().state == "stopped"
            await asyncio.sleep(0.3)
            assert on.said() == ["started"]

    asyncio.run(run())


def test_nothing_is_left_in_the_runtime_directory(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start("notify(b'READY=1'); sleep()")
            await until(lambda: one.ready)
            assert (tmp_path / "notify-one.sock").exists()

    asyncio.run(run())
    assert [path.name for path in tmp_path.iterdir()] == ["one.log"]


# Jobs, orphans and the supervisor's own death


def test_a_job_runs_to_its_end(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            log = tmp_path / "job.log"
            jobs = [
                on.supervisor.run_job(["/bin/sh", "-c", f"echo $WORD; {end}"], {"WORD": end}, log)
                for end in ("exit 0", "exit 3", "kill -9 $$")
            ]
            assert await asyncio.gather(*jobs) == [0, 3, -signal.SIGKILL]
            assert sorted(log.read_text().splitlines()) == ["exit 0", "exit 3", "kill -9 $$"]

    asyncio.run(run())


def test_a_job_that_nobody_waits_for_any_more_is_reaped(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            failures: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
            log = tmp_path / "job.log"
            script = "echo $$; exec /bin/sleep 0.1"
            job = asyncio.create_task(on.supervisor.run_job(["/bin/sh", "-c", script], {}, log))
            await until(lambda: log.exists() and log.read_text().endswith("\n"))
            job.cancel()
            await until(lambda: not Path(f"/proc/{log.read_text().strip()}").exists())
            assert await on.supervisor.run_job(["/bin/sh", "-c", "exit 3"], {}, log) == 3
            assert failures == []

    asyncio.run(run())


@pytest.mark.usefixtures("quick")
def test_one_component_can_end_before_the_others(tmp_path: Path) -> None:
    async def run() -> None:
        async with bench(tmp_path) as on:
            one, other = on.start("notify(b'READY=1')\nsleep()"), on.start("notify(b'READY=1')\nsleep()", "other")
            await until(lambda: one.ready and other.ready)
            await on.supervisor.end("one")
            await on.supervisor.end("absent")
            await asyncio.sleep(10 * TURN)  # longer than a restart would take
            assert (one.status().state, one.status().last_exit) == ("stopped", "signal SIGTERM")
            assert (one.restarts, other.status().state) == (0, "ready")

    asyncio.run(run())


# A supervisor in a process of its own, which tells the pids of a component and of an orphan.
SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from kins.supervise import Component, Supervisor
from kins.sys import process
async def main():
    process.set_child_subreaper()
    place = Path(sys.argv[1])
    supervisor = Supervisor(place, lambda _: None)
    supervisor.start(Component(name="one", argv=("/bin/sleep", "1000"), environment={}, log=place / "one.log"))
    await supervisor.run_job(["/bin/sh", "-c", "/bin/sleep 0.1 & echo $!"], {}, place / "orphan")
    print(supervisor.process("one").pid, (place / "orphan").read_text().strip(), flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""


@pytest.fixture
def separate(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A supervisor's process, its component's pid and that of an orphan that ends soon."""
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        component, orphan = map(int, supervisor.stdout.readline().split())
        yield supervisor, component, orphan
        supervisor.kill()


def test_orphans_are_reaped(separate: tuple[subprocess.Popen[str], int, int]) -> None:
    supervisor, component, orphan = separate
    asyncio.run(until(lambda: not Path(f"/proc/{orphan}").exists()))
    assert Path(f"/proc/{component}").exists()
    assert supervisor.poll() is None


def test_components_die_with_a_killed_supervisor(separate: tuple[subprocess.Popen[str], int, int]) -> None:
    supervisor, component, _ = separate
    started = kernel.start_time(component)
    assert kernel.is_alive(component, started)
    supervisor.kill()
    asyncio.run(until(lambda: not kernel.is_alive(component, started)))


# Logs


def test_a_log_is_continued(tmp_path: Path) -> None:
    (tmp_path / "one.log").write_text("before\n")

    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start("say('out'); os.write(2, b'error\\n'); notify(b'READY=1'); sleep()")
            await until(lambda: one.ready)
            assert on.said() == ["before", "out", "error"]

    asyncio.run(run())


def test_a_log_that_is_too_large_is_copied_and_grows_again_from_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAXIMUM_BYTES", 1000)
    monkeypatch.setattr(logs, "CHECK_SECONDS", TURN)
    copy, go = tmp_path / "one.log.1", tmp_path / "go"

    async def run() -> None:
        async with bench(tmp_path) as on:
            one = on.start(f"say('x' * 2000); notify(b'READY=1'); await_file({str(go)!r}); say('after'); sleep()")
            await until(lambda: one.ready)
            await until(lambda: on.log("one").stat().st_size == 0)
            assert copy.read_text() == "x" * 2000 + "\n"
            go.touch()
            await until(lambda: on.log("one").read_bytes())
            # The process still writes to the very same file: at its start, with no hole before.
            assert on.log("one").read_text() == "after\n"
            assert copy.stat().st_size == 2001
            assert one.restarts == 0

    asyncio.run(run())


def test_a_log_within_the_size_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAXIMUM_BYTES", 1000)
    (tmp_path / "one.log").write_bytes(b"x" * 1000)

    async def run() -> None:
        async with bench(tmp_path) as on:
            on.start_program(("/bin/sleep", "1000"))
            assert on.log("one").stat().st_size == 1000

    asyncio.run(run())
    assert not (tmp_path / "one.log.1").exists()


def test_a_copy_that_fails_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAXIMUM_BYTES", 1000)
    monkeypatch.setattr(logs, "CHECK_SECONDS", TURN)
    obstacle = tmp_path / "one.log.1"
    obstacle.mkdir()
    (tmp_path / "one.log").write_bytes(b"x" * 2000)

    async def run() -> None:
        async with bench(tmp_path) as on:
            on.start_program(("/bin/sleep", "1000"))
            await asyncio.sleep(5 * TURN)
            obstacle.rmdir()
            await until(obstacle.exists)
            await until(lambda: on.log("one").stat().st_size == 0)

    asyncio.run(run())


def test_tail(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert logs.tail(log, 5) == []
    log.write_bytes(b"".join(b"%06d\n" % number for number in range(100_000)) + b"\xff\n")
    assert logs.tail(log, 3) == ["099998", "099999", "\ufffd"]


def test_following_a_log_over_its_truncation(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert list(logs.read_new(log, 0)) == []
    log.write_bytes(b"hello\n")
    assert list(logs.read_new(log, 0)) == [(b"hello\n", 6)]
    assert list(logs.read_new(log, 2)) == [(b"llo\n", 6)]
    assert list(logs.read_new(log, 6)) == []
    log.write_bytes(b"new\n")
    assert list(logs.read_new(log, 6)) == [(b"new\n", 4)]


# The control socket


async def answers(call: str) -> AsyncIterator[Any]:
    """A handler: `count` gives three answers, `wait` none for ever, `fail` breaks, everything else is told back."""
    match call:
        case "count":
            for number in range(3):
                yield {"number": number}
        case "wait":
            await asyncio.sleep(1000)
        case "fail":
            yield "before"
            raise RuntimeError("a defect of the handler")
        case "nothing":
            return
        case _:
            yield {"call": call}


async def asked(path: Path, call: str, timeout: float = LIMIT) -> list[Any]:
    """All answers to a call, asked from another thread as from another process."""
    return await asyncio.to_thread(lambda: list(control.ask(path, call, timeout)))


@contextlib.asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    server = await control.serve(path, answers)
    try:
        yield
    finally:
        server.close()


def test_questions_and_answers(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def run() -> None:
        async with serving(path):
            assert await asked(path, "count") == [{"number": 0}, {"number": 1}, {"number": 2}]
            assert await asked(path, "nothing") == []
            together = await asyncio.gather(*(asked(path, f"call {number}") for number in range(8)))
            assert together == [[{"call": f"call {number}"}] for number in range(8)]
            assert await asyncio.to_thread(control.ask_one, path, "count", LIMIT) == {"number": 0}

    asyncio.run(run())


def code_of(question: Callable[[], Any]) -> str:
    with pytest.raises(KinsError) as caught:
        question()
    assert caught.value.message
    return caught.value.code


def test_nobody_listens(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    assert code_of(lambda: list(control.ask(path, "count", LIMIT))) == "supervisor-unreachable"
    # What a killed supervisor leaves
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert path.exists()
    assert code_of(lambda: list(control.ask(path, "count", LIMIT))) == "supervisor-unreachable"
    assert code_of(lambda: list(control.ask(tmp_path / ("x" * 200), "count", LIMIT))) == "supervisor-unreachable"


def test_a_new_supervisor_takes_over_the_socket_of_a_killed_one(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))

    async def run() -> None:
        async with serving(path):
            assert await asked(path, "hello") == [{"call": "hello"}]

    asyncio.run(run())


def test_a_silent_supervisor(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def run() -> None:
        async with serving(path):
            with pytest.raises(KinsError) as caught:
                await asked(path, "wait", timeout=0.1)
            assert caught.value.code == "supervisor-silent"
            assert await asked(path, "hello") == [{"call": "hello"}]

    asyncio.run(run())


@pytest.mark.parametrize("answer", [b"", b'{"number": 0}\n{"numb', b"\xff\n"], ids=["none", "cut-off", "noise"])
def test_a_supervisor_that_dies_over_its_answer(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def die() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        dying = threading.Thread(target=die)
        dying.start()
        found: list[Any] = []

        def ask() -> None:
            found.extend(control.ask(path, "count", LIMIT)) if answer else control.ask_one(path, "count", LIMIT)

        assert code_of(ask) == "supervisor-unreachable"
        dying.join(LIMIT)


async def answer_to(path: Path, request: bytes) -> bytes:
    """Everything that is sent back on these bytes until the connection is closed."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    writer.write_eof()
    async with asyncio.timeout(LIMIT):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


@pytest.mark.parametrize(
    "request_line",
    [b"", b"hello\n", b"{}\n", b'{"call": 1}\n', b"\xff\n", b'{"call": "count"}', b"x" * 3 * control.MAXIMUM_REQUEST],
    ids=["empty", "text", "no-call", "number", "bytes", "no-end", "too-long"],
)
def test_a_bad_request_ends_its_own_connection_only(tmp_path: Path, request_line: bytes) -> None:
    path = tmp_path / "control.sock"
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        async with serving(path):
            assert await answer_to(path, request_line) == b""
            assert await asked(path, "hello") == [{"call": "hello"}]

    asyncio.run(run())
    assert complaints == []


def test_a_defect_of_the_handler_does_not_keep_the_asker_waiting(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with serving(path):
            assert await answer_to(path, json.dumps({"call": "fail"}).encode() + b"\n") == b'"before"\n'

    asyncio.run(run())
