"""`userswarm bootstrap git` against real repositories: what is cloned, what is pulled, and who learns the token."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from unit.runtime.git_servers import TOKEN, Kept, Served, Upstream, git, make_key, over_https, over_ssh, serving
from unit.server.certificates import Authority
from userswarm.runtime.commands import bootstrap

Files = dict[str, str]


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream.make(tmp_path / "upstream")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return tmp_path / "workspace"


@contextlib.contextmanager
def over_file(upstream: Upstream, place: Path) -> Iterator[Served]:
    yield Served(f"file://{upstream.bare}", [])


TRANSPORTS: dict[str, Callable[[Upstream, Path], contextlib.AbstractContextManager[Served]]] = {
    "file": over_file,
    "https": over_https,
    "ssh": over_ssh,
}


@pytest.fixture(params=TRANSPORTS)
def served(request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path) -> Iterator[Served]:
    with TRANSPORTS[request.param](upstream, tmp_path / "server") as served:
        yield served


@pytest.fixture
def local(upstream: Upstream) -> Served:
    return Served(f"file://{upstream.bare}", [])


def step(served: Served, volume: Path, *more: str) -> Result:
    words = ["git", "--repository", served.url, "--directory", str(volume), *served.options, *more]
    return CliRunner().invoke(bootstrap, words, catch_exceptions=False)


def files(volume: Path) -> Files:
    """Return what lies in a directory, git's own left out."""
    return {
        str(path.relative_to(volume)): path.read_text()
        for path in sorted(volume.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(volume).parts
    }


def is_clean(volume: Path) -> bool:
    return not git("status", "--porcelain", at=volume) and not git("fsck", "--no-dangling", at=volume)


# --- over every transport -----------------------------------------------------------------------------------------


def test_it_clones_once_and_pulls_from_then_on(served: Served, upstream: Upstream, volume: Path) -> None:
    first = step(served, volume, "--branch", "main", "--depth", "1", "--pull")
    assert (first.exit_code, first.stderr) == (0, "")
    assert first.stdout == f"{volume}: cloned from {served.url}, branch main\n"
    assert files(volume) == {"README.md": "line 2\n", "src/app.py": "print(1)\n"}
    assert git("rev-list", "--count", "HEAD", at=volume) == "1"
    assert is_clean(volume)

    again = step(served, volume, "--branch", "main", "--depth", "1", "--pull")
    assert again.stdout == f"{volume}: up to date with {served.url}, branch main\n"

    upstream.commit("Commit 3", {"README.md": "line 3\n"})
    newest = upstream.commit("Commit 4", {"docs/new.md": "new\n"})
    pulled = step(served, volume, "--branch", "main", "--depth", "1", "--pull")
    assert (pulled.exit_code, pulled.stderr) == (0, "")
    assert pulled.stdout.endswith(f" to {newest[:12]}\n")
    assert files(volume) == {"README.md": "line 3\n", "docs/new.md": "new\n", "src/app.py": "print(1)\n"}
    assert git("rev-parse", "HEAD", "origin/main", at=volume).split() == [newest, newest]
    assert git("rev-list", "--count", "HEAD", at=volume) == "3"
    assert git("symbolic-ref", "HEAD", at=volume) == "refs/heads/main"
    assert git("config", "remote.origin.url", at=volume) == served.url
    assert is_clean(volume)


def test_without_pull_what_is_there_is_left(served: Served, upstream: Upstream, volume: Path) -> None:
    step(served, volume)
    upstream.commit("Commit 3", {"README.md": "line 3\n"})

    assert step(served, volume).stdout == f"{volume}: there already, left as it is\n"
    assert files(volume)["README.md"] == "line 2\n"
    assert git("rev-list", "--count", "HEAD", at=volume) == "2"


# --- who learns the token -----------------------------------------------------------------------------------------


def holds(folder: Path, secret: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


@pytest.fixture
def https(upstream: Upstream, tmp_path: Path) -> Iterator[Served]:
    with over_https(upstream, tmp_path / "server") as served:
        yield served


def test_nobody_but_the_server_learns_the_token(
    https: Served, upstream: Upstream, volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    # What would make git talk about it.
    monkeypatch.setenv("GIT_TRACE_CURL", "1")
    monkeypatch.setenv("GIT_CURL_VERBOSE", "1")

    said = step(https, volume, "--pull").output
    upstream.commit("Commit 3", {"README.md": "line 3\n"})
    said += step(https, volume, "--pull").output

    assert sum(bool(given) for given in https.seen) >= 4, "the server was asked by who had the token"
    assert not https.leaks
    assert TOKEN not in said
    assert not holds(volume, TOKEN.encode())
    assert git("config", "--list", "--local", at=volume).count(https.url) == 1
    assert not list(scratch.iterdir())


def test_a_leak_would_be_seen(https: Served, volume: Path) -> None:
    with subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"], "LEAK": TOKEN}) as sleeper:
        try:
            step(https, volume)
        finally:
            sleeper.kill()

    assert https.leaks == {"environ of sleep"}


def test_a_refused_token_fails_in_one_line_without_it(https: Served, volume: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("ghs_Another")
    https.options[1] = str(other)

    result = step(https, volume)

    assert result.exit_code == 1
    assert result.stderr.startswith("bootstrap: git: ")
    assert len(result.stderr.splitlines()) == 1
    assert "ghs_Another" not in result.output
    assert not list(volume.iterdir())


@pytest.mark.parametrize("content", ["", "\n", "a b", "a\r\n", "a\nb\n", "\u00e4", "x" * 5000])
def test_what_is_no_token_is_not_sent(https: Served, volume: Path, tmp_path: Path, content: str) -> None:
    token = tmp_path / "odd"
    token.write_text(content, newline="")
    https.options[1] = str(token)

    result = step(https, volume)

    assert (result.exit_code, https.seen) == (1, [])
    assert result.stderr == f"bootstrap: {token}: holds no token: must be one line of printable ASCII without blanks\n"


def test_a_redirect_takes_the_token_nowhere_else(https: Served, volume: Path, tmp_path: Path) -> None:
    seen: list[str | None] = []
    authority = Authority.make(tmp_path / "both")
    pair = authority.issue("either")

    class Thief(Kept):
        def answer(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.send_empty(401, "WWW-Authenticate", 'Basic realm="give it to me"')

    with serving(Thief, pair.certificate, pair.key) as thief:

        class Redirect(Thief):
            def answer(self) -> None:
                self.send_empty(302, "Location", f"https://localhost:{thief}{self.path}")

        with serving(Redirect, pair.certificate, pair.key) as port:
            moved = Served(f"https://localhost:{port}/project.git", list(https.options))
            moved.options[3] = str(authority.pair.certificate)
            result = step(moved, volume)

    assert result.exit_code == 1
    assert seen
    assert set(seen) == {None}


def test_another_authority_is_not_trusted(https: Served, volume: Path, tmp_path: Path) -> None:
    https.options[3] = str(Authority.make(tmp_path / "another").pair.certificate)

    result = step(https, volume)

    assert (result.exit_code, https.seen) == (1, [])
    assert "certificate" in result.stderr


# --- ssh ----------------------------------------------------------------------------------------------------------


def test_a_host_that_is_not_known_is_not_asked(upstream: Upstream, volume: Path, tmp_path: Path) -> None:
    with over_ssh(upstream, tmp_path / "server") as ssh:
        known = Path(ssh.options[3])
        other = make_key(tmp_path / "other").with_suffix(".pub").read_text()
        known.write_text(known.read_text().partition(" ")[0] + " " + other)
        result = step(ssh, volume)

    assert result.exit_code == 1
    assert "Host key verification failed" in result.stderr


def test_a_key_that_nobody_knows_is_refused_and_no_other_is_tried(
    upstream: Upstream, volume: Path, tmp_path: Path
) -> None:
    with over_ssh(upstream, tmp_path / "server") as ssh:
        ssh.options[1] = str(make_key(tmp_path / "other"))
        result = step(ssh, volume)

    assert result.exit_code == 1
    assert "Permission denied (publickey)" in result.stderr


def test_the_key_does_not_get_onto_the_volume(upstream: Upstream, volume: Path, tmp_path: Path) -> None:
    with over_ssh(upstream, tmp_path / "server") as ssh:
        assert step(ssh, volume).exit_code == 0
        secret = Path(ssh.options[1]).read_bytes().splitlines()[1]

    assert len(secret) > 60
    assert not holds(volume, secret)


def test_a_user_without_a_name_clones_with_nothing_but_its_own_directories() -> None:
    """A Pod's user is a number; ssh asks for the name of who runs it."""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody without a name")
    if not list(Path("/usr/lib").glob("*/libnss_wrapper.so")):
        pytest.skip("libnss-wrapper is not installed")
    nobody = 123_456
    with tempfile.TemporaryDirectory() as name, over_ssh(Upstream.make(Path(name) / "upstream"), Path(name)) as ssh:
        place = Path(name)
        place.chmod(0o755)
        for path in (place / "tmp", place / "volume"):
            path.mkdir()
            os.chown(path, nobody, nobody)
        # As a Secret is mounted: not the user's own, and readable by its group.
        key = Path(ssh.options[1])
        os.chown(key, 0, nobody)
        key.chmod(0o440)
        said = place / "said"
        said.touch()

        def as_nobody() -> int:
            os.environ.clear()
            os.environ |= {"PATH": "/usr/bin:/bin", "TMPDIR": str(place / "tmp")}
            tempfile.tempdir = None
            with said.open("w") as stream:
                os.setgroups([])
                os.setgid(nobody)
                os.setuid(nobody)
                result = step(ssh, place / "volume" / "workspace")
                stream.write(result.output)
            return result.exit_code

        assert (in_a_child(as_nobody), said.read_text()) == (
            0,
            f"{place}/volume/workspace: cloned from {ssh.url}\n",
        )
        assert files(place / "volume" / "workspace")["README.md"] == "line 2\n"
        assert not list((place / "tmp").iterdir())


def in_a_child(work: Callable[[], int]) -> int:
    """Do something in a process of its own, and return its code."""
    with warnings.catch_warnings():
        # Threads of other tests do not matter to it.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 99
        with contextlib.suppress(BaseException):
            code = work()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# --- what is there already ----------------------------------------------------------------------------------------


def test_other_files_stay_and_are_said(local: Served, volume: Path) -> None:
    (volume / "lost+found").mkdir(parents=True)
    (volume / "src").mkdir()
    (volume / "src" / "app.py").write_text("mine\n")
    (volume / "src" / "other.py").write_text("mine too\n")
    (volume / "README.md").write_text("line 2\n")

    result = step(local, volume)

    assert result.stdout.splitlines() == [
        f"{volume / 'src' / 'app.py'}: kept, it was there before and is not what was cloned",
        f"{volume}: cloned from {local.url}",
    ]
    assert files(volume) == {"README.md": "line 2\n", "src/app.py": "mine\n", "src/other.py": "mine too\n"}
    assert git("status", "--porcelain", at=volume).splitlines() == ["M src/app.py", "?? src/other.py"]
    assert not (volume / ".userswarm-clone").exists()


def test_a_clone_that_was_cut_off_is_begun_anew_and_ends_the_same(local: Served, volume: Path) -> None:
    step(local, volume)
    # Killed while entries were moved: some are in place, .git is not.
    staging = volume / ".userswarm-clone"
    staging.mkdir()
    (volume / ".git").rename(staging / ".git")
    (volume / "README.md").rename(staging / "README.md")
    (staging / ".git" / "config").write_text("[core]\n\tfsmonitor = false\n")

    assert step(local, volume).stdout == f"{volume}: cloned from {local.url}\n"
    assert files(volume) == {"README.md": "line 2\n", "src/app.py": "print(1)\n"}
    assert git("config", "remote.origin.url", at=volume) == local.url
    assert is_clean(volume)


def test_links_on_the_volume_lead_nowhere(local: Served, volume: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    volume.mkdir()
    (volume / "src").symlink_to(elsewhere)
    (volume / ".userswarm-clone").symlink_to(elsewhere)

    assert step(local, volume).exit_code == 0
    assert not list(elsewhere.iterdir())
    linked = tmp_path / "linked"
    linked.symlink_to(elsewhere)
    refused = step(local, linked)
    assert (refused.exit_code, list(elsewhere.iterdir())) == (1, [])
    assert "is a symbolic link" in refused.stderr


def test_a_repository_that_is_not_there_fails_in_one_line(local: Served, upstream: Upstream, volume: Path) -> None:
    missing = Served(local.url + "-not", [])

    for result in (step(missing, volume), step(local, volume, "--branch", "nowhere")):
        assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
        assert result.stderr.startswith("bootstrap: git: ")
    assert not list(volume.iterdir())


def test_without_git_it_says_so(local: Served, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(volume))

    assert step(local, volume).stderr == "bootstrap: git is not installed here\n"


# --- pulling into a user's work -----------------------------------------------------------------------------------


def commit_here(volume: Path) -> None:
    (volume / "mine.py").write_text("mine\n")
    git("add", "mine.py", at=volume)
    git("commit", "--quiet", "-m", "Mine", at=volume)


def edit_what_is_to_change(volume: Path) -> None:
    (volume / "README.md").write_text("mine\n")


def check_out_another_branch(volume: Path) -> None:
    git("checkout", "--quiet", "-b", "other", at=volume)


def detach(volume: Path) -> None:
    git("checkout", "--quiet", "--detach", at=volume)


def leave_a_merge(volume: Path) -> None:
    (volume / ".git" / "MERGE_HEAD").write_text(git("rev-parse", "HEAD", at=volume) + "\n")


def leave_a_file_in_the_way(volume: Path) -> None:
    (volume / "docs").write_text("mine\n")


def lose_the_branch(volume: Path) -> None:
    (volume / ".git" / "refs" / "heads" / "main").unlink()
    (volume / ".git" / "packed-refs").unlink(missing_ok=True)


def name_a_branch_that_is_a_path(volume: Path) -> None:
    (volume / ".git" / "HEAD").write_text("ref: refs/heads/../../../../etc/main\n")


def make_git_a_file(volume: Path) -> None:
    shutil.rmtree(volume / ".git")
    (volume / ".git").write_text("gitdir: /nonexistent\n")


def link_the_index(volume: Path) -> None:
    (volume / ".git" / "index").rename(volume / ".git" / "old")
    (volume / ".git" / "index").symlink_to("old")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (commit_here, "fast-forward"),
        (edit_what_is_to_change, "README.md"),
        (leave_a_file_in_the_way, "docs"),
        (check_out_another_branch, "branch other is checked out, not main"),
        (detach, "no branch is checked out"),
        (name_a_branch_that_is_a_path, "no branch is checked out"),
        (leave_a_merge, "something is under way there: .git/MERGE_HEAD"),
        (lose_the_branch, "branch main has no commit that can be read"),
        (make_git_a_file, ".git is no directory"),
        (link_the_index, "is a symbolic link"),
    ],
)
def test_work_that_is_in_the_way_stays_and_is_no_failure(
    local: Served, upstream: Upstream, volume: Path, what: Callable[[Path], None], said: str
) -> None:
    step(local, volume)
    upstream.commit("Commit 3", {"README.md": "line 3\n", "docs/new.md": "new\n"})
    what(volume)
    before = files(volume)
    refs = {path: path.read_bytes() for path in (volume / ".git").glob("refs/**/*") if path.is_file()}

    result = step(local, volume, "--branch", "main", "--pull")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{volume}: left as it is, not pulled: ")
    assert said in result.stdout
    assert files(volume) == before
    assert {path: path.read_bytes() for path in (volume / ".git").glob("refs/**/*") if path.is_file()} == refs


def test_changes_that_are_not_in_the_way_stay_and_the_rest_is_pulled(
    local: Served, upstream: Upstream, volume: Path
) -> None:
    step(local, volume)
    (volume / "src" / "app.py").write_text("mine\n")
    upstream.commit("Commit 3", {"README.md": "line 3\n"})

    assert "pulled from" in step(local, volume, "--pull").stdout
    assert files(volume) == {"README.md": "line 3\n", "src/app.py": "mine\n"}
    assert git("status", "--porcelain", at=volume) == "M src/app.py"


def test_a_server_that_is_gone_keeps_nobody_from_their_work(local: Served, upstream: Upstream, volume: Path) -> None:
    step(local, volume)
    shutil.rmtree(upstream.bare)

    result = step(local, volume, "--pull")

    assert result.exit_code == 0
    assert "left as it is, not pulled: git: " in result.stdout


def test_a_branch_that_was_packed_is_found(local: Served, upstream: Upstream, volume: Path) -> None:
    step(local, volume)
    git("pack-refs", "--all", at=volume)
    git("gc", "--quiet", at=volume)
    newest = upstream.commit("Commit 3", {"README.md": "line 3\n"})

    assert step(local, volume, "--pull").exit_code == 0
    assert git("rev-parse", "HEAD", at=volume) == newest
    assert is_clean(volume)


def test_a_pull_that_was_cut_off_before_the_branch_was_written_is_made_good(
    local: Served, upstream: Upstream, volume: Path
) -> None:
    step(local, volume, "--depth", "1")
    before = (volume / ".git" / "refs" / "heads" / "main").read_bytes()
    newest = upstream.commit("Commit 3", {"README.md": "line 3\n"})
    step(local, volume, "--pull")
    (volume / ".git" / "refs" / "heads" / "main").write_bytes(before)

    assert step(local, volume, "--pull").exit_code == 0
    assert git("rev-parse", "HEAD", at=volume) == newest
    assert is_clean(volume)


def test_nothing_that_the_owner_of_a_clone_wrote_into_it_runs(
    https: Served, upstream: Upstream, volume: Path, tmp_path: Path
) -> None:
    step(https, volume)
    proof = tmp_path / "proof"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $0 $* >> {proof}\ncat\n")
    program.chmod(0o755)
    for name in (
        *("remote.origin.uploadpack", "remote.origin.vcs", "core.sshCommand", "core.askPass", "core.editor"),
        *("filter.mine.smudge", "filter.mine.clean", "filter.mine.process", "merge.mine.driver", "diff.mine.textconv"),
    ):
        git("config", name, str(program), at=volume)
    git("config", "credential.helper", f"!{program}", at=volume)
    git("config", "core.hooksPath", str(tmp_path / "hooks"), at=volume)
    git("config", f"url.ext::{program}.insteadOf", https.url, at=volume)
    git("config", "core.fsmonitor", str(program), at=volume)
    (tmp_path / "hooks").mkdir()
    for name in ("post-merge", "post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc"):
        for folder in (tmp_path / "hooks", volume / ".git" / "hooks"):
            folder.mkdir(exist_ok=True)
            shutil.copy(program, folder / name)
    (volume / ".git" / "info").mkdir(exist_ok=True)
    (volume / ".git" / "info" / "attributes").write_text("* filter=mine merge=mine diff=mine\n")
    upstream.commit("Commit 3", {"README.md": "line 3\n", ".gitattributes": "* filter=mine merge=mine diff=mine\n"})

    result = step(https, volume, "--pull")

    assert not proof.exists(), proof.read_text()
    assert "pulled from" in result.stdout
    assert files(volume)["README.md"] == "line 3\n"
    # The trap is a real one.
    with contextlib.suppress(subprocess.CalledProcessError):
        git("status", at=volume)
    assert proof.exists()


# --- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--repository", "https://ada:secret@example.org/x.git"], "without a password"),
        (["--repository", "ext::sh -c evil"], "--repository must be"),
        (["--repository", "--upload-pack=evil"], "--repository must be"),
        (["--repository", "ssh://-oProxyCommand=evil/x"], "--repository must be"),
        (["--repository", "git@-oProxyCommand=evil:x"], "--repository must be"),
        (["--repository", "/etc"], "--repository must be"),
        (["--repository", "file://host/x"], "--repository must be"),
        (["--repository", "https://example.org/x\n"], "--repository must be"),
        (["--repository", "https://example.org/$(x y)"], "--repository must be"),
        (["--branch", "-b"], "no name of a branch"),
        (["--branch", "a..b"], "no name of a branch"),
        (["--branch", "/etc/passwd"], "no name of a branch"),
        (["--branch", "a/"], "no name of a branch"),
        (["--branch", "x.lock"], "no name of a branch"),
        (["--branch", "a b"], "no name of a branch"),
        (["--depth", "-1"], "--depth"),
        (["--repository", "http://example.org/x.git", "--token-file", "t"], "never in the clear"),
        (["--repository", "git@example.org:x.git", "--token-file", "t"], "https:// only"),
        (["--repository", "ssh://example.org/x.git", "--ca-file", "c"], "https:// only"),
        (["--key-file", "k", "--known-hosts", "h"], "for ssh only"),
        (["--repository", "ssh://git@example.org/x.git"], "needs --key-file and --known-hosts"),
        (["--repository", "git@example.org:x.git", "--key-file", "k"], "needs --key-file and --known-hosts"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_happens(
    tmp_path: Path, words: list[str], said: str
) -> None:
    given = {"--repository": "https://example.org/x.git"} | dict(zip(words[::2], words[1::2], strict=True))
    volume = tmp_path / "volume"

    result = CliRunner().invoke(bootstrap, ["git", "--directory", str(volume), *(w for o in given.items() for w in o)])

    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert not volume.exists()


@pytest.mark.parametrize("branch", ["main", "feature/x-1", "release-1.2", "a@b", "v1.0"])
def test_branches_of_all_kinds_are_cloned_and_pulled(
    upstream: Upstream, local: Served, volume: Path, branch: str
) -> None:
    upstream.commit("There", {"README.md": "there\n"}, branch)
    assert step(local, volume, "--branch", branch).exit_code == 0
    newest = upstream.commit("Then", {"README.md": "then\n"}, branch)

    assert "pulled from" in step(local, volume, "--branch", branch, "--pull").stdout
    assert git("rev-parse", branch, f"origin/{branch}", at=volume).split() == [newest, newest]
    assert is_clean(volume)


def test_the_options_of_bootstrap_itself_are_for_no_step(tmp_path: Path) -> None:
    result = CliRunner().invoke(bootstrap, ["--config", "x", "git", "--repository", "x", "--directory", "y"])

    assert result.exit_code == 2
    assert "are for no step" in result.stderr


def test_the_command_is_found_where_a_pod_looks_for_it() -> None:
    words = [sys.executable, "-m", "userswarm.cli", "bootstrap", "git", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)

    assert "--repository URL" in done.stdout
