"""The backend's list over real HTTP: read whole, or not at all, whatever the backend does."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from unit.reaper.backend import Answer, Backend, Page, serve
from unit.reaper.fakes import NOW, FakeCluster, make_swarm, run, stamp
from userswarm.reaper.owners import Owners, OwnersError
from userswarm.reaper.owners import url as url_module
from userswarm.reaper.owners.url import UrlOwners, check_url
from userswarm.reaper.reap import Options
from userswarm.reaper.report import ExitCode

PEOPLE = [(f"w{number:04}", f"u{number}") for number in range(25)]


def read(backend: Backend, **options: Any) -> Owners:
    return UrlOwners(backend.url, **({"page_size": 10, "timeout": 10.0} | options)).read(NOW)


def fault_of(backend: Backend, **options: Any) -> OwnersError:
    with serve(backend), pytest.raises(OwnersError) as caught:
        read(backend, **options)
    return caught.value


def test_all_pages_make_one_list() -> None:
    with serve(Backend(PEOPLE)) as backend:
        owners = read(backend)

    assert dict(owners.by_workspace) == dict(PEOPLE)
    assert owners.as_of == NOW
    cursors = [parse_qs(urlsplit(target).query).get("cursor") for target, _ in backend.requests]
    assert cursors == [None, ["10"], ["20"]]


def test_a_backend_may_give_fewer_or_more_than_it_was_asked_for() -> None:
    with serve(Backend(PEOPLE, max_page=3)) as backend:
        assert len(read(backend).by_workspace) == 25

    with serve(Backend(PEOPLE, spoil=lambda _, page: page | {"owners": entries(PEOPLE), "next": None})) as backend:
        assert len(read(backend).by_workspace) == 25


def test_the_url_keeps_its_own_query_and_cursors_are_encoded() -> None:
    def odd_cursor(number: int, page: Page) -> Page:
        return page | {"next": "a b&c=/é"} if number == 1 else page | {"owners": entries([("z", "z")]), "total": 11}

    backend = Backend(PEOPLE[:10], spoil=lambda n, page: odd_cursor(n, page) | {"total": 11})
    with serve(backend, path="/owners?state=active&deleted=") as served:
        served.answer = _ignore_cursor(served.answer)  # type: ignore[method-assign]
        assert len(read(served).by_workspace) == 11

    second = parse_qs(urlsplit(backend.requests[1][0]).query, keep_blank_values=True)
    assert second == {"state": ["active"], "deleted": [""], "limit": ["10"], "cursor": ["0"]}
    assert "cursor=a+b%26c%3D%2F%C3%A9" in SEEN[-1]


SEEN: list[str] = []


def _ignore_cursor(answer: Callable[[str, str | None], Answer | None]) -> Callable[[str, str | None], Answer | None]:
    """Note the target as it came, and let the cursor be one that `Backend` understands."""

    def instead(target: str, authorization: str | None) -> Answer | None:
        SEEN.append(target)
        head, found, _ = target.partition("cursor=")
        return answer(head + "cursor=0" if found else target, authorization)

    return instead


def entries(people: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"workspaceId": workspace, "userId": user} for workspace, user in people]


def test_as_of_is_the_oldest_that_any_page_says_and_never_later_than_the_read() -> None:
    def dated(number: int, page: Page) -> Page:
        return page | {"asOf": [stamp(NOW + timedelta(days=1)), stamp(NOW - timedelta(hours=2)), None][number - 1]}

    with serve(Backend(PEOPLE, spoil=dated)) as backend:
        assert read(backend).as_of == NOW - timedelta(hours=2)


def replaced(**fields: Any) -> Callable[[int, Page], Page]:
    return lambda _, page: page | fields


def without(field: str) -> Callable[[int, Page], Page]:
    return lambda _, page: {key: value for key, value in page.items() if key != field}


def on(number: int, spoil: Callable[[int, Page], Page | Answer | None]) -> Callable[[int, Page], Page | Answer | None]:
    """Spoil request `number` and no other."""
    return lambda n, page: spoil(n, page) if n == number else page


def body(text: bytes, **more: Any) -> Callable[[int, Page], Answer]:
    return lambda _, page: Answer(text, **more)


FIRST = entries(PEOPLE[:10])

FAULTS: dict[str, tuple[Callable[[int, Page], Page | Answer | None], str]] = {
    "nothing at all": (body(b""), "not JSON"),
    "no owner": (replaced(owners=[], next=None, total=0), "empty"),
    "truncated JSON": (body(b'{"owners": [{"workspaceId": "w0000", "userId": "u'), "not JSON, or only half of it"),
    "an answer that breaks off": (body(b'{"owners": ', length=1000), "broke off 989 bytes before its end"),
    "HTML": (body(b"<html>Please log in</html>"), "not JSON"),
    "a list": (body(b"[]"), "not an object with"),
    "half a list, as total shows": (on(2, replaced(next=None)), "`total` is 25, but 20 came: the list is not whole"),
    "half a list, as the last page is an error": (on(3, body(b"", status=500)), "HTTP 500"),
    "more than total": (replaced(total=5), "`total` is 5, 10 came, and there is more"),
    "a total that is too large": (replaced(total=26), "`total` is 26, but 25 came"),
    "a total that changes": (on(2, replaced(total=26)), "`total` went from 25 to 26"),
    "a total that is none": (replaced(total="25"), "`total` is '25', not a whole number"),
    "a total of true": (replaced(total=True), "`total` is True"),
    "a total below zero": (replaced(total=-1), "`total` is -1"),
    "a total beyond reason": (replaced(total=10**9), "more than 2000000"),
    "no total": (without("total"), "not an object with"),
    "no next": (without("next"), "not an object with"),
    "no owners": (without("owners"), "not an object with"),
    "owners that are no list": (replaced(owners={}), "`owners` must be a list"),
    "a repeated page": (on(2, replaced(owners=FIRST)), "page 2: workspace 'w0000' comes after 'w0009'"),
    "a repeated cursor": (lambda n, page: page | {"next": "10"}, "neither a new cursor nor null"),
    "an unsorted page": (on(2, lambda _, page: page | {"owners": page["owners"][::-1]}), "comes after"),
    "a workspace twice": (replaced(owners=FIRST[:1] * 2), "'w0000' comes after 'w0000'"),
    "an empty page in the middle": (on(2, replaced(owners=[])), "page 2: empty, but not the last"),
    "a cursor that is no text": (replaced(next=10), "`next` is 10"),
    "an empty cursor": (replaced(next=""), "`next` is ''"),
    "an entry that is no object": (replaced(owners=["w0000"]), "entry 1 is 'w0000'"),
    "an entry without user": (replaced(owners=[{"workspaceId": "w"}]), "userId None"),
    "an entry with an empty user": (replaced(owners=entries([("w", "")])), "both must be texts, not empty"),
    "an entry with a number": (replaced(owners=[{"workspaceId": 1, "userId": "u"}]), "workspaceId 1"),
    "an entry with an empty workspace": (replaced(owners=entries([("", "u")])), "both must be texts"),
    "an asOf that is no time": (replaced(asOf="lately"), "asOf is 'lately'"),
    "500": (body(b"oops", status=500), "HTTP 500"),
    "404": (body(b"", status=404), "HTTP 404"),
    "204": (body(b"", status=204), "HTTP 204"),
    "206": (body(b"{}", status=206), "HTTP 206"),
    "403": (body(b"", status=403), "the token is refused"),
    "no answer": (lambda _, page: None, "no answer within 0.3 s"),
    "no second page": (on(2, lambda _, page: None), "no answer within 0.3 s"),
    "a byte now and then": (body(b" " * 1000, drip=0.05), "took more than 3 s"),
}


def timeout_for(fault: str) -> float:
    """Return seconds in which each single byte comes, or none."""
    return {"no answer": 0.3, "no second page": 0.3, "a byte now and then": 3.0}.get(fault, 60.0)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_backend_is_an_error_that_says_what_is_wrong(fault: str) -> None:
    spoil, message = FAULTS[fault]
    error = fault_of(Backend(PEOPLE, spoil=spoil), timeout=timeout_for(fault))

    assert message in str(error)
    assert str(error).startswith("http://127.0.0.1:")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_backend_deletes_nothing(fault: str) -> None:
    spoil, _ = FAULTS[fault]
    cluster = FakeCluster.of(make_swarm("gone"))
    with serve(Backend(PEOPLE, spoil=spoil)) as backend:
        source = UrlOwners(backend.url, page_size=10, timeout=timeout_for(fault))
        outcome = run(cluster, source, Options(attempts=1))

    assert outcome.code is ExitCode.OWNERS_UNUSABLE
    assert cluster.calls == ["list"]


@pytest.mark.parametrize(
    ("fault", "passes"),
    [
        ("500", True),
        ("no answer", True),
        ("an answer that breaks off", True),
        ("half a list, as total shows", True),
        ("a total that changes", True),
        ("404", False),
        ("403", False),
        ("an unsorted page", False),
        ("no owner", False),
    ],
)
def test_only_a_fault_that_may_pass_is_worth_another_try(fault: str, passes: bool) -> None:
    spoil, _ = FAULTS[fault]

    assert fault_of(Backend(PEOPLE, spoil=spoil), timeout=timeout_for(fault)).transient is passes


def test_a_backend_that_recovers_is_read_after_all() -> None:
    cluster = FakeCluster.of(make_swarm("gone"))
    with serve(Backend(PEOPLE, spoil=on(1, body(b"", status=503)))) as backend:
        outcome = run(cluster, UrlOwners(backend.url, page_size=10))

    assert outcome.code is ExitCode.DONE
    assert outcome.decisions == {"workspace-gone": ("deleted", "owner-gone")}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_takes_no_token_along(status: int, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with serve(Backend([("evil", "u")])) as other:
        error = fault_of(
            Backend(PEOPLE, spoil=body(b"", status=status, headers={"Location": other.url})), token_file=token
        )

    assert f"HTTP {status}: redirects are not followed" in str(error)
    assert other.url in str(error)
    assert other.requests == []


def test_the_token_is_sent_and_read_anew_for_each_page(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")

    def renew(number: int, page: Page) -> Page:
        token.write_text(f"token-{number}")
        return page

    with serve(Backend(PEOPLE, spoil=renew)) as backend:
        read(backend, token_file=token)

    assert [authorization for _, authorization in backend.requests] == [
        "Bearer first",
        "Bearer token-1",
        "Bearer token-2",
    ]


def test_without_a_token_none_is_sent() -> None:
    with serve(Backend(PEOPLE)) as backend:
        read(backend)

    assert {authorization for _, authorization in backend.requests} == {None}


def test_a_wrong_token_is_an_error_that_does_not_show_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("wrong-secret")
    error = fault_of(Backend(PEOPLE, token="right"), token_file=token)

    assert "HTTP 401: the token is refused" in str(error)
    assert "wrong-secret" not in str(error)


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "with blank", "sm\xf6r"])
def test_a_token_file_that_holds_no_token_sends_nothing(content: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(content, encoding="utf-8")
    backend = Backend(PEOPLE)
    error = fault_of(backend, token_file=token)

    assert str(token) in str(error)
    assert not content.strip() or content not in str(error)
    assert backend.requests == []


def test_a_token_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert "cannot be read: FileNotFoundError" in str(fault_of(Backend(PEOPLE), token_file=tmp_path / "none"))


def test_nobody_listening_is_a_fault_that_may_pass() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with pytest.raises(OwnersError, match="ConnectionRefusedError") as caught:
            UrlOwners(f"http://127.0.0.1:{port}/").read(NOW)

    assert caught.value.transient


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Backend([("evil", "u")])) as proxy, serve(Backend(PEOPLE)) as backend:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert "evil" not in read(backend).by_workspace

    assert proxy.requests == []


def test_a_page_beyond_its_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_module, "MAX_PAGE_BYTES", 200)

    assert "a page is larger than 200 bytes" in str(fault_of(Backend(PEOPLE)))


def test_more_pages_than_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_module, "MAX_PAGES", 2)

    assert "more than 2 pages" in str(fault_of(Backend(PEOPLE)))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody signed but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("tls")
    key, cert = directory / "key.pem", directory / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=owners"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    both = directory / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both


def test_tls_with_the_given_authority_is_trusted(certificate: Path) -> None:
    with serve(Backend(PEOPLE), certificate=certificate) as backend:
        assert len(read(backend, ca_file=certificate.with_name("cert.pem")).by_workspace) == 25


def test_tls_with_an_untrusted_certificate_is_refused_before_the_token_is_sent(
    certificate: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    with serve(Backend(PEOPLE), certificate=certificate) as backend, pytest.raises(OwnersError) as caught:
        read(backend, token_file=token)

    assert "its certificate is not trusted" in str(caught.value)
    assert not caught.value.transient
    assert backend.requests == []


def test_tls_for_another_name_is_refused(certificate: Path) -> None:
    with serve(Backend(PEOPLE), certificate=certificate) as backend, pytest.raises(OwnersError, match="not trusted"):
        UrlOwners(backend.url.replace("127.0.0.1", "localhost"), ca_file=certificate.with_name("cert.pem")).read(NOW)


def test_an_authority_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    for name, content in (("none", None), ("nonsense", "no certificate")):
        path = tmp_path / name
        if content:
            path.write_text(content)
        with pytest.raises(OwnersError, match="no certificates can be read"):
            UrlOwners("https://127.0.0.1:1/", ca_file=path).read(NOW)


@pytest.mark.parametrize(
    "url",
    [
        "https://backend.example/owners",
        "https://backend.example:8443/owners?state=active",
        "http://127.0.0.1:8080/owners",
        "http://[::1]/owners",
        "http://localhost/owners",
    ],
)
def test_a_url_is_https_or_on_this_very_machine(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://backend.example/owners", "plain http is refused"),
        ("http://10.0.0.1/owners", "plain http is refused"),
        ("http://localhost.example/owners", "plain http is refused"),
        ("ftp://backend.example/owners", "must be https"),
        ("file:///etc/passwd", "must be https"),
        ("backend.example/owners", "must be https"),
        ("https:///owners", "must be https"),
        ("https://user:secret@backend.example/", "must not carry a password"),
        ("https://backend.example/#top", "fragment"),
        ("https://backend.example:port/", "(?i)port"),
        ("https://backend.example/a b", "percent-encode"),
        ("https://backend.example/é", "percent-encode"),
        ("https://backend.example/\r\nHost: evil", "percent-encode"),
    ],
)
def test_any_other_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_url(url)


def test_plain_http_to_another_machine_can_be_allowed() -> None:
    check_url("http://backend.example/owners", insecure_http=True)


def test_the_description_has_no_query_in_it() -> None:
    assert UrlOwners("https://backend.example/owners?key=secret").describe() == "https://backend.example/owners"
