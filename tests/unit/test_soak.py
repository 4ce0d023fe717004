"""What a watch makes of what it sees: trends, breaks, error lines, figures by part, causes, the report."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from kins.errors import KinsError
from kins.soak import plots
from kins.soak.churn import ChurnLoad
from kins.soak.document import markdown, summary, table
from kins.soak.figures import FigureLog
from kins.soak.latency import Latency, LatencyWatch, spread
from kins.soak.loads import STARTS, UNIT_LABEL, DeploymentLoad, Object, PodLoad
from kins.soak.loglines import LogWatch, is_error, pattern
from kins.soak.readiness import Condition, ReadyWatch, ready_condition
from kins.soak.report import Cause, SoakReport, causes
from kins.soak.surroundings import surroundings
from kins.soak.trend import Point, Quantity, after_warm_up, slope, trend
from kins.soak.watch import Observed
from kins.soak.workers import Workers
from kins.supervise import usage
from kins.supervise.usage import ComponentUsage, Figures, Usage

MEBIBYTE = 2**20
HOUR = 3600.0


def every_five_seconds(minutes: float, value: str) -> list[Point]:
    """Samples of a figure given as an expression of `t`, in seconds."""
    times = [5.0 * number for number in range(int(minutes * 12) + 1)]
    return [(at, float(eval(value, {"t": at, "math": math}))) for at in times]


# Trends


def test_a_slope_is_that_of_the_least_squares_line() -> None:
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == pytest.approx(2.0)
    # Worked out by hand: the mean point is (1.5, 2.5), the sums of products and squares are 4 and 5.
    assert slope([(0.0, 2.0), (1.0, 1.0), (2.0, 3.0), (3.0, 4.0)]) == pytest.approx(0.8)
    assert slope([(0.0, 1.0)]) is None
    assert slope([(2.0, 1.0), (2.0, 5.0)]) is None


@pytest.mark.parametrize(
    ("quantity", "value", "verdict"),
    [
        pytest.param("memory", "300e6 + 20e6 * math.sin(t / 40)", "flat", id="noise of a garbage collector"),
        pytest.param("memory", "200e6 + 100e6 * (1 - math.exp(-t / 400))", "flat", id="a cache that fills"),
        pytest.param("memory", "300e6 + 100e6 * (t > 1900)", "flat", id="one step"),
        pytest.param("memory", "300e6 + 20e3 * t + 20e6 * math.sin(t / 40)", "growing", id="a leak under noise"),
        pytest.param("memory", "20e6 + 3e3 * t", "flat", id="10 MiB an hour are little"),
        pytest.param("memory", "4e9 + 20e3 * t", "flat", id="2 per cent an hour are little"),
        pytest.param("cpu", "0.2 + 0.03 * math.sin(t)", "flat", id="busy"),
        pytest.param("cpu", "0.1 + t / 3600 * 0.2", "growing", id="busier and busier"),
        pytest.param("descriptors", "40 + t // 60", "growing", id="a descriptor a minute"),
        pytest.param("descriptors", "40 + t % 60", "flat", id="descriptors that come and go"),
        pytest.param("mounts", "60", "flat", id="nothing changes"),
        pytest.param("descriptors", "400 - t // 60", "flat", id="falling"),
    ],
)
def test_verdicts_of_an_hour(quantity: Quantity, value: str, verdict: str) -> None:
    assert trend("part", quantity, every_five_seconds(60, value)).verdict == verdict


def test_a_short_watch_gets_no_verdict() -> None:
    short, long = (trend("part", "memory", every_five_seconds(minutes, "1e6 * t")) for minutes in (19, 21))
    assert (short.verdict, long.verdict) == ("too-short", "growing")
    assert short.slope_per_hour == pytest.approx(1e6 * HOUR)


def test_a_trend_says_what_there_was() -> None:
    found = trend("etcd", "memory", [(0.0, 5.0), (5.0, 1.0), (10.0, 3.0)])
    assert (found.samples, found.first, found.last, found.minimum, found.maximum, found.mean) == (3, 5, 3, 1, 5, 3)
    assert found.slope_per_hour is None
    assert found.verdict == "too-short"


def test_the_warm_up_is_a_quarter_and_at_least_a_minute() -> None:
    assert after_warm_up(every_five_seconds(60, "t"))[0] == (900.0, 900.0)
    assert after_warm_up(every_five_seconds(2, "t"))[0] == (60.0, 60.0)
    assert after_warm_up(every_five_seconds(0.5, "t")) == []


# Figures


def figures(memory: int = 100 * MEBIBYTE, cpu: float = 1.0, descriptors: int = 10) -> Figures:
    return Figures(memory_bytes=memory, cpu_seconds=cpu, descriptors=descriptors, processes=1)


def sample(restarts: int = 0, pid: int | None = 7, **programs: Figures) -> Usage:
    component = ComponentUsage(name="etcd", pid=pid, restarts=restarts, last_exit="exit code 1", programs=programs)
    return Usage(components=(component,), supervisor=figures(), processes=20, mounts=30)


def test_cpu_is_what_was_used_between_two_samples() -> None:
    log = FigureLog()
    for at, seconds in ((0.0, 10.0), (5.0, 11.0), (10.0, 13.5)):
        log.add(at, sample(engine=figures(cpu=seconds)))
    assert log.points["etcd", "cpu"] == [(5.0, 0.2), (10.0, 0.5)]
    assert [value for _, value in log.points["etcd", "memory"]] == [100 * MEBIBYTE] * 3


def test_cpu_over_a_restart_is_left_out() -> None:
    log = FigureLog()
    log.add(0.0, sample(engine=figures(cpu=10.0)))
    log.add(5.0, sample(pid=None, restarts=1))
    log.add(10.0, sample(restarts=1, engine=figures(cpu=0.5)))
    log.add(15.0, sample(restarts=1, engine=figures(cpu=1.0)))
    assert log.points["etcd", "cpu"] == [(15.0, 0.1)]
    assert [(each.component, each.count, each.last_exit) for each in log.restarts()] == [("etcd", 1, "exit code 1")]


def test_restarts_from_before_the_watch_do_not_count() -> None:
    log = FigureLog()
    log.add(0.0, sample(restarts=3, engine=figures()))
    log.add(5.0, sample(restarts=3, engine=figures()))
    assert log.restarts() == ()


def test_a_tracer_has_figures_of_its_own() -> None:
    log = FigureLog()
    log.add(0.0, sample(**{"kins-intercept": figures(5), "kins-engine": figures(70), "mount": figures(1)}))
    assert log.points["etcd", "memory"] == [(0.0, 71)]
    assert log.points["etcd (kins-intercept)", "memory"] == [(0.0, 5)]
    subjects = {(each.subject, each.quantity) for each in log.trends()}
    assert ("processes and mounts", "mounts") in subjects
    assert ("supervisor", "memory") in subjects


# What a process group uses: real processes

GROUPS = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
# The kernel's name of this process is that of the file, `sleep`.
named = subprocess.Popen(["/opt/named", "1000"], executable="/bin/sleep")
other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0)
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
sum(range(20_000_000))
print(child.pid, named.pid, other.pid, flush=True)
sys.stdin.read()
named.kill()
"""


def test_a_component_is_its_process_group() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GROUPS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        child, named, other = map(int, leader.stdout.readline().split())
        found = usage.processes()
        in_group = {process.pid for process in found if process.group == leader.pid}
        figures = usage.by_program(found, leader.pid)
        own, of_other = usage.alone(found, leader.pid), usage.alone(found, other)
    assert in_group == {leader.pid, child, named}
    used = figures.pop(os.path.basename(sys.executable))
    assert used.processes == 2
    assert {name: each.processes for name, each in figures.items()} == {"named": 1}
    assert own.descriptors >= 50 > of_other.descriptors
    assert used.memory_bytes > own.memory_bytes > 2 * MEBIBYTE
    assert used.cpu_seconds >= own.cpu_seconds > 0.05


def test_mounts_are_counted() -> None:
    assert usage.mounts() == len(Path("/proc/self/mountinfo").read_text().splitlines())


# Readiness


class Client:
    """For watches that are told what they see: nothing may be asked."""


def ready_watch(*seen: tuple[float, str, str], now: float = 100.0) -> ReadyWatch:
    watch = ReadyWatch(Client(), "node", lambda: now)  # type: ignore[arg-type]
    for at, status, since in seen:
        watch.see(at, Condition(status, since, "KubeletNotReady" if status == "False" else "x"))
    return watch


def test_a_node_that_is_always_ready() -> None:
    found = ready_watch((0.0, "True", "a"), (40.0, "True", "a")).result()
    assert (found.ready_at_end, found.breaks, found.longest_break_seconds) == (True, (), 0.0)


def test_a_break_lasts_until_ready_again() -> None:
    seen = ((0.0, "True", "a"), (10.0, "Unknown", "b"), (11.0, "False", "c"), (14.5, "True", "d"))
    found = ready_watch(*seen).result()
    (only,) = found.breaks
    assert (only.at_seconds, only.seconds, only.status, only.ended) == (10.0, 4.5, "Unknown", True)
    assert found.ready_at_end
    assert found.longest_break_seconds == 4.5


def test_a_break_that_goes_on_lasts_until_now() -> None:
    found = ready_watch((0.0, "True", "a"), (90.0, "False", "b"), now=97.0).result()
    (only,) = found.breaks
    assert (only.seconds, only.ended, only.reason) == (7.0, False, "KubeletNotReady")
    assert not found.ready_at_end


def test_a_break_while_the_api_was_away_is_not_missed() -> None:
    (only,) = ready_watch((0.0, "True", "a"), (30.0, "True", "b")).result().breaks
    assert (only.at_seconds, only.reason) == (30.0, "NotSeen")


def test_a_node_that_is_never_seen() -> None:
    found = ready_watch().result()
    assert not found.ready_at_end
    assert [cause.code for cause in causes(found, (), 0, (), None, no_requests(), 0)] == ["node-not-ready"]


def test_the_condition_of_a_node() -> None:
    conditions = [
        {"type": "MemoryPressure", "status": "False"},
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "KubeletReady"},
    ]
    assert ready_condition({"status": {"conditions": conditions}}) == Condition(
        "True", "2026-01-01T00:00:00Z", "KubeletReady"
    )
    assert ready_condition({}).status == "Unknown"


# Logs: lines as upstream writes them

KUBELET = (
    'E1125 13:40:06.733277   21685 pod_workers.go:1324] "Error syncing pod, skipping" err="failed to '
    '\\"StartContainer\\" for \\"main\\"" pod="default/web-5d7f" podUID="0b5ac1f0-ec4c-4ac9-a6ec-6a86ad0e8c2a"'
)
CONTAINERD = (
    'time="2026-11-25T13:40:06.7Z" level=error msg="StopPodSandbox for \\"6c0f9a1d2b3c4d5e6f708192\\" failed" error=x'
)
ETCD = '{"level":"error","ts":"2026-11-25T13:40:06.7Z","caller":"etcdserver/server.go:900","msg":"failed"}'
CACHE = (
    'E1125 13:40:06.7   99 eviction_manager.go:292] "Eviction manager: failed" err="failed to get rootfs info: unable '
    'to find data in memory cache"'
)


@pytest.mark.parametrize("line", [KUBELET, CONTAINERD, ETCD, CACHE, "panic: no", "Traceback (most recent call last):"])
def test_error_lines(line: str) -> None:
    assert is_error(line)


@pytest.mark.parametrize(
    "line",
    [
        'I1125 13:40:06.733277   21685 kubelet.go:1] "SyncLoop" err="level of errors"',
        'time="2026-11-25T13:40:06.7Z" level=warning msg="error"',
        '{"level":"warn","msg":"error"}',
        "Everything: fatal or not",
    ],
)
def test_other_lines(line: str) -> None:
    assert not is_error(line)


def test_lines_of_a_kind_have_one_pattern() -> None:
    other = KUBELET.replace("web-5d7f", "api-1").replace("0b5ac1f0", "11111111").replace("40:06", "41:59")
    assert pattern(KUBELET) == pattern(other)
    assert "pod_workers.go:1324" in pattern(KUBELET)
    assert "StartContainer" in pattern(KUBELET)
    assert pattern(CONTAINERD) == pattern(CONTAINERD.replace("6c0f9a1d2b3c", "ffff00001111").replace(":06.7Z", ":09Z"))
    assert "StopPodSandbox" in pattern(CONTAINERD)
    assert pattern(ETCD) == pattern(ETCD.replace("13:40", "14:41"))
    assert pattern(ETCD) != pattern(ETCD.replace("failed", "refused"))


def test_new_lines_of_logs_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "kubelet.log"
    log.write_text(f"{KUBELET}\n")
    watch = LogWatch({"kubelet": log, "etcd": tmp_path / "etcd.log"})
    with log.open("a") as file:
        file.write(f"{KUBELET}\nI1125 all is well\n{CACHE}\n{CACHE[:30]}")
    watch.look()
    with log.open("a") as file:
        file.write(f"{CACHE[30:]}\n")
    (tmp_path / "etcd.log").write_text(f"{ETCD}\n")
    watch.look()
    partial = 'E1125 13:40:06.7   99 stats.go:569] "Partial failure issuing" err="RecentStats: unable '
    with (tmp_path / "etcd.log").open("a") as file:
        file.write(f'{partial}to find data in memory cache"\n')
    watch.look()
    assert watch.memory_cache_errors == 2
    found = [(each.component, each.count) for each in watch.errors()]
    assert found == [("kubelet", 2), ("kubelet", 1), ("etcd", 1), ("etcd", 1)]
    assert watch.errors()[0].example == CACHE


# The load


def pod(number: int, name: str, **status: object) -> Object:
    metadata = {"name": name, "labels": {UNIT_LABEL: str(number)}}
    return {"metadata": metadata, "status": status}


def running(count: int, restarts: int = 0) -> list[Object]:
    return [{"state": {"running": {}}, "restartCount": restarts}] * count


class Requests:
    """The API as a load uses it: takes everything, and remembers it."""

    def __init__(self, status: int = 201) -> None:
        self.status = status
        self.made: list[tuple[str, str]] = []

    def request(self, method: str, path: str, timeout: float, content: object = None) -> tuple[int, bytes]:
        self.made.append((method, path))
        return (self.status if method == "POST" else 200), b""


def churn(requests: Requests, clock: Sequence[float]) -> ChurnLoad:
    """A load whose clock shows these times, one after another and then the last one."""
    times = list(clock)
    return ChurnLoad(
        requests,  # type: ignore[arg-type]  # a unit test has no API server
        "space",
        PodLoad("pause"),
        2000.0,
        lambda: times.pop(0) if len(times) > 1 else times[0],
    )


def test_a_unit_starts_is_removed_and_goes() -> None:
    requests = Requests()
    load = churn(requests, [10.0, 12.0, 15.0])
    load._make_one()
    load._see(pod(0, "churn-0", containerStatuses=running(STARTS - 1)), gone=False)
    load._see(pod(0, "churn-0", containerStatuses=running(STARTS)), gone=False)
    load._see(pod(0, "churn-0"), gone=True)
    assert requests.made == [
        ("POST", "/api/v1/namespaces/space/pods"),
        ("DELETE", "/api/v1/namespaces/space/pods/churn-0"),
    ]
    found = load.result()
    assert (found.starts, found.units, found.failures, load.under_way) == (STARTS, 1, (), 0)
    assert found.start.longest_seconds is not None
    assert found.removal.longest_seconds is not None


def test_a_unit_that_does_not_start_has_failed_and_is_removed() -> None:
    requests = Requests()
    load = churn(requests, [0.0, 121.0])
    load._make_one()
    load._give_up_overdue()
    assert [(each.what, each.count) for each in load.result().failures] == [("not started within 120 s", 1)]
    assert requests.made[-1][0] == "DELETE"


def test_a_unit_that_is_refused_has_failed() -> None:
    load = churn(Requests(status=403), [0.0])
    load._make_one()
    assert [each.what for each in load.result().failures] == ["not created: 403"]
    assert load.under_way == 0


def test_a_restarted_container_has_failed_once() -> None:
    load = churn(Requests(), [0.0])
    load._make_one()
    for _ in range(3):
        load._see(pod(0, "churn-0", containerStatuses=running(1, restarts=1)), gone=False)
    assert [(each.what, each.count) for each in load.result().failures] == [("a container was restarted", 1)]


def test_a_deployment_has_started_when_the_scheduler_has_seen_its_pods() -> None:
    seen = {"conditions": [{"type": "PodScheduled", "status": "False"}]}
    load = DeploymentLoad("pause")
    assert not load.is_started([pod(0, "a", **seen), pod(0, "b", **seen), pod(0, "c")])
    assert load.is_started([pod(0, name, **seen) for name in "abc"])
    assert load.unit(4)["spec"]["template"]["metadata"]["labels"] == {UNIT_LABEL: "4"}


# Latency, workers


def test_spread_is_by_nearest_rank() -> None:
    found = spread([number / 1000 for number in range(1, 201)])
    assert (found.p50_seconds, found.p99_seconds, found.longest_seconds) == (0.1, 0.198, 0.2)
    assert spread([]).p50_seconds is None
    assert spread([0.5]).p99_seconds == 0.5


def no_requests() -> Latency:
    return LatencyWatch(Client(), lambda: 0.0).result()  # type: ignore[arg-type]


def test_what_a_worker_dies_of_is_told() -> None:
    workers = Workers()

    def fail(_: Workers) -> None:
        raise ValueError("a defect")

    workers.start(fail)
    workers.stop(patience=10.0)
    with pytest.raises(ValueError, match="a defect"):
        workers.check()


def test_workers_stop() -> None:
    workers = Workers()
    workers.start(lambda own: [None for _ in iter(lambda: own.pause(0.01), False)] and None)
    began = time.monotonic()
    workers.stop(patience=10.0)
    assert time.monotonic() - began < 5
    workers.check()


# The report


def observed(*, healthy: bool = True, minutes: float = 60.0) -> Observed:
    log = FigureLog()
    for at, memory in every_five_seconds(minutes, "300e6" if healthy else "300e6 + 1e5 * t"):
        log.add(at, sample(engine=figures(int(memory), at * 0.1)))
    requests = [(float(second), 0.02) for second in range(60)]
    watch = LatencyWatch(Client(), lambda: 0.0)  # type: ignore[arg-type]
    watch.points.extend(requests)
    watch.failures = 0 if healthy else 1
    node = ready_watch((0.0, "True", "a")).result()
    trends, api = log.trends(), watch.result()
    cache = 0 if healthy else 2
    found = causes(node, log.restarts(), cache, trends, None, api, 0)
    report = SoakReport(
        cluster="default",
        level="node",
        began="2026-11-25T13:40:06+00:00",
        seconds=60 * minutes,
        interrupted=False,
        healthy=not found,
        causes=found,
        node=node,
        restarts=log.restarts(),
        memory_cache_errors=cache,
        errors=(),
        trends=trends,
        churn=churn(Requests(), [0.0]).result(),
        api=api,
        surroundings=surroundings(),
        versions={"kins": "1"},
    )
    return Observed(report, log, requests, [(1.0, 0.5), (2.0, 0.7)])


def test_causes_of_a_bad_hour() -> None:
    codes = [cause.code for cause in observed(healthy=False).report.causes]
    assert codes == ["memory-cache-errors", "memory-growing", "api-failed"]
    assert observed().report.causes == ()


def test_a_load_that_does_not_keep_up_is_a_cause() -> None:
    slow = msgspec.structs.replace(churn(Requests(), [0.0]).result(), per_hour=1700.0)
    assert [cause.code for cause in causes(None, (), 0, (), slow, no_requests(), 0)] == ["churn-too-slow"]
    kept = msgspec.structs.replace(slow, per_hour=1900.0)
    assert causes(None, (), 0, (), kept, no_requests(), 0) == ()


def test_a_supervisor_that_does_not_answer_is_a_cause() -> None:
    assert causes(None, (), 0, (), None, no_requests(), 3) == (
        Cause(code="supervisor-away", message="it did not answer 3 times"),
    )


def test_the_summary_and_the_document_say_what_was_found() -> None:
    bad = observed(healthy=False).report
    assert "not healthy for 60.0 min" in summary(bad)
    assert "memory-growing: etcd: +343.3 MiB/h" in summary(bad)
    text = markdown(bad, "kins soak --minutes 60", ["memory.svg"])
    assert "![memory.svg](memory.svg)" in text
    assert "| all | `unable to find data in memory cache` | 2 |" in text
    assert "without a break" in markdown(observed().report, "kins soak", [])


def test_a_table_survives_what_stands_in_logs() -> None:
    rendered = table(("a", "b"), [("x|y", "`code with ` in it`")])
    assert rendered.splitlines()[-1] == "| x\\|y | `code with ' in it` |"


def test_a_report_can_be_read_back() -> None:
    report = observed().report
    assert msgspec.json.decode(msgspec.json.encode(report), type=SoakReport) == report


def test_plots(tmp_path: Path) -> None:
    pytest.importorskip("leather", reason="the development group has it: make lint")
    written = plots.write_plots(observed(), tmp_path)
    assert set(written) == {"memory.svg", "cpu.svg", "descriptors.svg", "api.svg", "starts.svg"}
    for name in written:
        text = (tmp_path / name).read_text()
        assert text.rstrip().endswith("</svg>")
        assert len(text) < 100_000
    assert "etcd" in (tmp_path / "memory.svg").read_text()


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "leather", None)
    with pytest.raises(KinsError) as caught:
        plots.require_plots()
    assert caught.value.code == "soak-extra-missing"


def test_averaging_keeps_mean_and_bounds_the_number() -> None:
    points = [(float(number), float(number)) for number in range(1000)]
    found = plots.averaged(points)
    assert len(found) <= plots.LINE_POINTS
    assert found[0] == (2.5, 2.5)
    assert plots.averaged(points[:3]) == points[:3]


def test_surroundings_are_those_of_this_machine() -> None:
    found = surroundings()
    assert found.cores == len(os.sched_getaffinity(0))
    assert found.kernel.startswith(os.uname().sysname)
