"""The gate's settings: each read, all that is wrong named at once, and what cannot go together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from userswarm.errors import SettingsError
from userswarm.gate.settings import PREFIX, GateSettings
from userswarm.gate.tokens.who import Tokens


def read(**variables: str) -> GateSettings:
    return GateSettings.from_environment({f"{PREFIX}{name}": text for name, text in variables.items()})


def test_the_environment_of_others_is_left_alone() -> None:
    assert GateSettings.from_environment({"USERSWARM_BIND": "x", "PATH": "/bin"}) == GateSettings()


def test_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / "limits.toml").write_text('[user."a|b"]\nrate = "5/minute"\nopen = 0\n', encoding="utf-8")
    (tmp_path / "issuers.toml").write_text(
        '[[issuer]]\nissuer = "https://a/"\naudience = ["x"]\njwks_url = "https://a/jwks"\n', encoding="utf-8"
    )
    settings = read(
        ISSUERS_FILE=str(tmp_path / "issuers.toml"),
        LIMITS_FILE=str(tmp_path / "limits.toml"),
        ALLOWED_ORIGINS="https://App.example.com, http://localhost:3000",
        DOMAIN="Agents.example.com",
        PATH_PREFIX="/w/",
        USER_RATE="20/second",
        HOLD="5",
        AUDIT=str(tmp_path / "audit"),
        PASS_AUTHORIZATION="true",
    )
    assert settings.issuers[0].issuer == "https://a/"
    assert settings.limits == {"user": {"a|b": {"rate": "5/minute", "open": 0}}}
    assert settings.allowed_origins == ("https://app.example.com", "http://localhost:3000")
    assert (settings.domain, settings.path_prefix, settings.user_rate, settings.hold) == (
        "agents.example.com",
        "/w/",
        "20/second",
        5,
    )
    assert settings.pass_authorization


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ISSUERS_FILE", "/nowhere"),
        ("TOKEN_FILE", "/nowhere"),
        ("CLOCK_LEEWAY", "3600"),
        ("HOSTS_FILE", "/nowhere"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://app.example.com/path"),
        ("PATH_PREFIX", "v1/"),
        ("PATH_PREFIX", "/v1"),
        ("PATH_PREFIX", "/v1//"),
        ("DOMAIN", ".example.com"),
        ("DOMAIN", "*.example.com"),
        ("USER_RATE", "many"),
        ("USER_RATE", "0/second"),
        ("WORKSPACE_OPEN", "-1"),
        ("LIMITS_STORAGE", "memcached://x"),
        ("LIMITS_STORAGE", "redis:///0"),
        ("LIMITS_STORAGE", "redis://limits:65536/0"),
        ("LIMITS_STORAGE", "redis://limits:6379/first"),
        ("LIMITS_STORAGE", "redis://limits:6379/0 or so"),
        ("AUDIT", "/nowhere/audit"),
        ("BIND", "8090"),
        ("WORKERS", "0"),
        ("MAX_STALENESS", "1"),
        ("BNID", "127.0.0.1:1"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(**{name: text}, LOG_LEVEL="loud")
    assert f"{PREFIX}{name}" in str(error.value)
    assert f"{PREFIX}LOG_LEVEL='loud'" in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[group.a]\nrate = '1/day'", "group: must be user or workspace"),
        ("user = 7", "user: must be tables"),
        ("[user]\na = 7", "user: must be tables"),
        ("[user.a]\nrates = '1/day'", "user.a.rates: must be rate or open"),
        ("[user.a]\nrate = 7", "user.a.rate: must be such as"),
        ("[workspace.a]\nopen = true", "workspace.a.open: must be a whole number"),
        ("[workspace.a]\nopen = -1", "workspace.a.open: must be a whole number"),
        ("not toml", "LIMITS_FILE"),
    ],
)
def test_exceptions_that_cannot_be_used_are_named(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "limits.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=re.escape(problem)):
        read(LIMITS_FILE=str(tmp_path / "limits.toml"))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"WORKERS": "2", "USER_RATE": "1/second"}, "LIMITS_STORAGE"),
        ({"WORKERS": "2", "USER_OPEN": "1", "ACCESS_LOG": "/pipe"}, "LIMITS_STORAGE"),
        ({"USER_OPEN": "1"}, "ACCESS_LOG"),
        ({"WORKSPACE_OPEN": "1"}, "ACCESS_LOG"),
        ({"PATH_PREFIX": ""}, "DOMAIN"),
    ],
)
def test_what_does_not_go_together_is_named(variables: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read(**variables)


@pytest.mark.parametrize(
    "variables",
    [
        {"WORKERS": "2"},
        {"WORKERS": "2", "USER_RATE": "1/second", "LIMITS_STORAGE": "redis://limits:6379/0"},
        {"USER_OPEN": "1", "ACCESS_LOG": "/pipe"},
        {"PATH_PREFIX": "", "DOMAIN": "agents.example.com"},
    ],
)
def test_what_goes_together_is_taken(variables: dict[str, str]) -> None:
    assert read(**variables).workers == int(variables.get("WORKERS", "1"))


def test_an_exception_alone_is_a_limit_too(tmp_path: Path) -> None:
    (tmp_path / "limits.toml").write_text("[user.a]\nopen = 3\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="ACCESS_LOG"):
        read(LIMITS_FILE=str(tmp_path / "limits.toml"))


def test_a_gate_that_knows_nobody_does_not_start() -> None:
    with pytest.raises(SettingsError, match="ISSUERS_FILE or USERSWARM_GATE_TOKEN_FILE"):
        Tokens(GateSettings())


@pytest.mark.parametrize(
    "text", ["redis://:s3cret@limits:65536/0", "redis://gate:s3/c@ret@limits:6379/x", "rediss://:s3cret@"]
)
def test_a_password_is_not_told_with_what_is_wrong(text: str) -> None:
    with pytest.raises(SettingsError, match=r"LIMITS_STORAGE='rediss?://\w*:\*\*\*@") as error:
        read(LIMITS_STORAGE=text)
    assert "s3" not in str(error.value)
    assert "ret" not in str(error.value)
