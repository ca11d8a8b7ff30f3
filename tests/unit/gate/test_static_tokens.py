"""Static tokens: hashed in their file, all compared, and read again when the file changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from unit.gate.gates import Clock, static_tokens
from userswarm.errors import SettingsError
from userswarm.gate.tokens.static import StaticTokens


def test_a_token_names_its_user(tmp_path: Path) -> None:
    file = Path(static_tokens(tmp_path / "t", **{"auth0|alice smith": "one", "bob": "two"}))
    tokens = StaticTokens(file)

    assert [tokens.user_of(token) for token in ("one", "two", "three", "")] == ["auth0|alice smith", "bob", None, None]
    # Whoever reads the file cannot use what is in it.
    digest = hashlib.sha256(b"one").hexdigest()
    assert digest in file.read_text(encoding="utf-8")
    assert tokens.user_of(digest) is None


def test_every_line_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = StaticTokens(Path(static_tokens(tmp_path / "t", a="1", b="2", c="3")))
    compared: list[int] = []
    monkeypatch.setattr("hmac.compare_digest", lambda left, right: bool(compared.append(1)) or left == right)

    assert tokens.user_of("1") == "a"
    assert len(compared) == 3


def test_a_changed_file_is_read_again_and_a_broken_one_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "t", Clock()
    static_tokens(file, alice="one")
    tokens = StaticTokens(file, monotonic=clock)

    static_tokens(tmp_path / "new", alice="two")
    (tmp_path / "new").replace(file)
    assert tokens.user_of("two") is None
    clock.now += 1
    assert (tokens.user_of("two"), tokens.user_of("one")) == ("alice", None)

    (tmp_path / "new").write_text("broken", encoding="utf-8")
    (tmp_path / "new").replace(file)
    clock.now += 1
    assert tokens.user_of("two") == "alice"
    assert "stay valid" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nobody\n",
        "plain-token alice\n",
        f"{'a' * 63} alice\n",
        f"{'a' * 64}\n",
        f"{'a' * 64} \n",
        f"{'a' * 64} alice\n{'A' * 64} bob\n",
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start_without_telling_its_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "t").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="USERSWARM_GATE_TOKEN_FILE") as error:
        StaticTokens(tmp_path / "t")
    assert "plain-token" not in str(error.value)
