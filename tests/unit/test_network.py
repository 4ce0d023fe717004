"""What pods are told of the way out: the variables of a proxy, the authorities, the CNI configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from kins.network import cni, proxy

DIRECT = "localhost,127.0.0.1,.svc,.cluster.local,10.42.0.0/16,10.43.0.0/16,10.44.0.0/16"


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, {}),
        ({"NO_PROXY": "example.org", "HTTPS_PROXY": ""}, {}),
        ({"HTTPS_PROXY": "http://p:1"}, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": DIRECT}),
        (
            {"http_proxy": "http://p:1", "https_proxy": "http://p:2", "no_proxy": "example.org, .svc"},
            {
                "HTTP_PROXY": "http://p:1",
                "HTTPS_PROXY": "http://p:2",
                "NO_PROXY": "example.org,.svc," + DIRECT.replace(".svc,", ""),
            },
        ),
        # Upper case wins, as in the sandbox's own programs that read both.
        ({"HTTP_PROXY": "http://p:1", "http_proxy": "http://p:2"}, {"HTTP_PROXY": "http://p:1", "NO_PROXY": DIRECT}),
    ],
)
def test_variables_of_a_proxy(environment: dict[str, str], told: dict[str, str]) -> None:
    assert proxy.variables(environment) == told | {name.lower(): value for name, value in told.items()}


def test_authorities_are_no_variables(tmp_path: Path) -> None:
    """`envFrom` takes every key of a ConfigMap."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("certificates\n")
    told = {"HTTPS_PROXY": "http://p:1"}
    maps = {each["metadata"]["name"]: each["data"] for each in proxy.config_maps(told | {"SSL_CERT_FILE": str(bundle)})}
    assert {name: set(data) for name, data in maps.items()} == {
        "kins-egress": {"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"},
        "kins-egress-authorities": {"ca.crt"},
    }
    assert maps["kins-egress-authorities"]["ca.crt"] == "certificates\n"
    assert [each["metadata"]["name"] for each in proxy.config_maps(told)] == ["kins-egress"]
    with pytest.raises(FileNotFoundError):
        proxy.config_maps({"SSL_CERT_FILE": str(tmp_path / "missing")})


def test_pods_are_told_to_the_relay_where_there_is_one() -> None:
    def plugin(*places: Path) -> dict[str, object]:
        (found,) = cni.configuration(Path("/data"), *places)["plugins"]
        return dict(found)

    assert plugin(Path("/relay")) == plugin() | {"egress": "/relay"}
