"""Every setting, good and bad; all that is bad is named at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from userswarm.errors import SettingsError
from userswarm.spec.settings import PREFIX, Settings
from userswarm.spec.template.revisions import NO_TEMPLATES


def read(**variables: str) -> Settings:
    return Settings.from_environment({PREFIX + name: text for name, text in variables.items()})


def refused(**variables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(**variables)
    return str(caught.value).splitlines()


WHOLE = {
    "PROGRESS_DEADLINE": (10, 86_400),
    "LIFECYCLE_SPREAD": (0, 3600),
    "RUNTIME_USER": (1, 2**31 - 1),
    "RUNTIME_GROUP": (1, 2**31 - 1),
    "WORKERS": (1, 64),
    "KEEP_ALIVE": (1, 3600),
    "REQUEST_TIMEOUT": (1, 600),
    "GRACEFUL_TIMEOUT": (1, 600),
    "MAX_BODY_BYTES": (1024, 256 * 1024 * 1024),
    "MAX_JSON_DEPTH": (16, 200),
    "MAX_CHILDREN": (8, 100_000),
    "MAX_CONCURRENT": (1, 10_000),
}

OTHERWISE = {"BASE_CONFIG_FILE": "base_config", "TEMPLATES_DIR": "templates"}
"""Settings that are a file's path, and whose field holds what is in it."""

GOOD: list[tuple[str, str, Any]] = [
    *((name, str(least), least) for name, (least, _) in WHOLE.items()),
    *((name, str(most), most) for name, (_, most) in WHOLE.items()),
    ("DEFAULT_IMAGE", "registry.example:5000/a/b@sha256:0", "registry.example:5000/a/b@sha256:0"),
    ("HELPER_IMAGE", "x", "x"),
    ("ALLOWED_NAMESPACES", "a, b\nc  d,", ("a", "b", "c", "d")),
    ("ALLOWED_IMAGE_PREFIXES", "ghcr.io/x/,registry.example/", ("ghcr.io/x/", "registry.example/")),
    ("ALLOWED_IMAGE_PREFIXES", "", ()),
    ("ALLOWED_SECRETS", "a b", ("a", "b")),
    ("ALLOWED_SECRETS", "", ()),
    ("PLATFORM_NAMESPACE_LABELS", "b=2, a.example/k=", (("a.example/k", ""), ("b", "2"))),
    ("WEBHOOK_NAMESPACE", "hooks", "hooks"),
    ("ALLOW_PODS_WITHIN_NAMESPACE", "TRUE", True),
    ("DNS_CIDRS", "169.254.20.10, fd00::a/128", ("169.254.20.10/32", "fd00::a/128")),
    ("DNS_CIDRS", "", ()),
    ("API_SERVER_CIDRS", "10.96.0.1/32 192.168.4.0/24", ("10.96.0.1/32", "192.168.4.0/24")),
    ("API_SERVER_CIDRS", "", ()),
    ("LIFECYCLE_DEFAULTS", "", ()),
    ("LIFECYCLE_DEFAULTS", "minAwake=90s, idleAfter=1h30m", (("idleAfter", 5400), ("minAwake", 90))),
    ("LIFECYCLE_CEILINGS", "maxAwake=24h expireAfter=0s", (("expireAfter", 0), ("maxAwake", 86_400))),
    ("BASE_CONFIG_FILE", "", ""),
    ("TEMPLATES_DIR", "", NO_TEMPLATES),
    ("BIND", "0.0.0.0:8080", "0.0.0.0:8080"),
    ("BIND", "[::]:0", "[::]:0"),
    ("BIND", "localhost:65535", "localhost:65535"),
    ("METRICS_BIND", "", ""),
    ("METRICS_BIND", "127.0.0.1:9090", "127.0.0.1:9090"),
    ("SERVICE_PROXY", "", None),
    ("SERVICE_PROXY", "http://127.0.0.1:16880", ("127.0.0.1", 16880)),
    ("SERVICE_PROXY", "proxy.example:3128", ("proxy.example", 3128)),
    ("SERVICE_PROXY", "http://[::1]:80/", ("::1", 80)),
    ("TOKEN_FILE", "", ""),
    ("TOKEN_FILE", __file__, __file__),
    ("INSECURE_NO_AUTH", "false", False),
    ("INSECURE_NO_AUTH", "True", True),
    ("TLS_CERT_FILE", "", ""),
    ("TLS_KEY_FILE", "", ""),
    ("CLIENT_CA_FILE", "", ""),
    ("LOG_LEVEL", "DEBUG", "debug"),
    ("LOG_LEVEL", "error", "error"),
    ("LOG_FORMAT", "text", "text"),
]

BAD: list[tuple[str, str, str]] = [
    *(
        (name, text, "must be a whole number from")
        for name in WHOLE
        for text in ("", "x", "-1", "1.5", " 7", "1e3", "٣")
    ),
    *((name, str(least - 1), f"from {least} to {most}") for name, (least, most) in WHOLE.items()),
    *((name, str(most + 1), f"from {least} to {most}") for name, (least, most) in WHOLE.items()),
    *(
        (name, text, "must be networks such as")
        for name in ("DNS_CIDRS", "API_SERVER_CIDRS")
        for text in ("10.0.0.1/8", "dns.example", "1.2.3.4/33")
    ),
    *(
        (name, text, "image reference")
        for name in ("DEFAULT_IMAGE", "HELPER_IMAGE")
        for text in ("", "a b", "/a", "a\n")
    ),
    *(
        (name, text, "durations")
        for name in ("LIFECYCLE_DEFAULTS", "LIFECYCLE_CEILINGS")
        for text in ("idleAfter", "idleAfter=", "idleAfter=30", "idleAfter=1d", "sleep=1h", "lead=1m,lead=2m")
    ),
    *(("ALLOWED_NAMESPACES", text, "at least one") for text in ("", " , ", "A", "a.b", "-a", "a" * 64, "a, B")),
    *(("PLATFORM_NAMESPACE_LABELS", text, "labels such as") for text in ("", "a b=c", "=x", "a=b c", "a=-")),
    *(("WEBHOOK_NAMESPACE", text, "must be a namespace name") for text in ("", "A", "a,b", "a" * 64)),
    ("ALLOW_PODS_WITHIN_NAMESPACE", "yes", "must be one of true, false"),
    *(
        ("BIND", text, "ADDRESS:PORT")
        for text in ("", "8080", ":8080", "localhost", "localhost:", "a.example:1", "::1:x")
    ),
    ("BIND", "127.0.0.1:65536", "ADDRESS:PORT"),
    ("METRICS_BIND", "9090", "ADDRESS:PORT"),
    *(
        ("SERVICE_PROXY", text, "HTTP proxy such as")
        for text in ("8880", "https://a:1", "http://a", "http://u@a:1", "http://a:1/x", "http://a:65536", "http://a:0")
    ),
    *((name, "/nowhere/at-all", "No such file") for name in ("TOKEN_FILE", "BASE_CONFIG_FILE")),
    *(
        (name, "/", "Is a directory")
        for name in ("TLS_CERT_FILE", "TLS_KEY_FILE", "CLIENT_CA_FILE", "BASE_CONFIG_FILE")
    ),
    ("BASE_CONFIG_FILE", __file__, "Expected '='"),
    ("TEMPLATES_DIR", "/nowhere/at-all", "is no folder"),
    ("INSECURE_NO_AUTH", "1", "must be one of true, false"),
    ("LOG_LEVEL", "loud", "must be one of debug, info, warning, error"),
    ("LOG_FORMAT", "xml", "must be one of json, text"),
]


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_good_value_is_read(name: str, text: str, value: object) -> None:
    field = OTHERWISE.get(name, name.lower())
    assert getattr(read(**{name: text}), field) == value


@pytest.mark.parametrize(("name", "text", "accepted"), BAD)
def test_a_bad_value_is_named_with_what_would_be_accepted(name: str, text: str, accepted: str) -> None:
    told = "\n".join(refused(**{name: text}))
    assert told.startswith(f"{PREFIX}{name}={text!r}: ")
    assert accepted in told


def test_every_setting_has_a_case_of_each_sort() -> None:
    names = {
        {field: name for name, field in OTHERWISE.items()}.get(each.name, each.name.upper())
        for each in dataclasses.fields(Settings)
    }
    assert {name for name, _, _ in GOOD} == names
    # Any words will do for these two.
    assert {name for name, _, _ in BAD} == names - {"ALLOWED_IMAGE_PREFIXES", "ALLOWED_SECRETS"}


def test_an_environment_that_says_nothing_has_the_defaults() -> None:
    assert Settings.from_environment({"PATH": "/bin", "USERSWARMS": "x"}) == Settings()


def test_all_bad_ones_are_named_at_once_and_unknown_ones_too() -> None:
    told = refused(WORKERS="many", LOG_LEVEL="loud", DEFALT_IMAGE="x", BIND="nowhere")
    assert [line.split(":")[0].split("=")[0] for line in told] == [
        f"{PREFIX}BIND",
        f"{PREFIX}DEFALT_IMAGE",
        f"{PREFIX}LOG_LEVEL",
        f"{PREFIX}WORKERS",
    ]
    assert f"{PREFIX}DEFAULT_IMAGE" in told[1]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"TLS_CERT_FILE": __file__}, "set both or none"),
        ({"TLS_KEY_FILE": __file__}, "set both or none"),
        (
            {"LIFECYCLE_DEFAULTS": "idleAfter=2h,lead=1m", "LIFECYCLE_CEILINGS": "idleAfter=1h"},
            "USERSWARM_LIFECYCLE_DEFAULTS: its idleAfter",
        ),
        ({"CLIENT_CA_FILE": __file__}, "needs USERSWARM_TLS_CERT_FILE"),
        ({"TOKEN_FILE": __file__, "INSECURE_NO_AUTH": "true"}, "cannot be true while USERSWARM_TOKEN_FILE is set"),
    ],
)
def test_what_does_not_go_together_is_refused(variables: dict[str, str], told: str) -> None:
    assert told in "\n".join(refused(**variables))


def test_what_goes_together_is_accepted() -> None:
    settings = read(
        TLS_CERT_FILE=__file__,
        TLS_KEY_FILE=__file__,
        CLIENT_CA_FILE=__file__,
        TOKEN_FILE=__file__,
        INSECURE_NO_AUTH="false",
    )
    assert settings.client_ca_file == __file__


def test_the_base_configuration_is_read_at_start(tmp_path: Path) -> None:
    file = tmp_path / "base.toml"
    file.write_text("[memory]\nbackend = 'sqlite'\n", encoding="utf-8")
    settings = read(BASE_CONFIG_FILE=str(file))
    file.unlink()
    assert settings.base_config == "[memory]\nbackend = 'sqlite'\n"


def test_a_base_configuration_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "base.toml"
    file.write_bytes(b"\xff")
    assert "can't decode" in refused(BASE_CONFIG_FILE=str(file))[0]
