"""Signed answers: what is in a token, who can read it, and that nobody else can make one."""

from __future__ import annotations

import base64
import json
import os
import stat
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdaemon.alerts.asked import Request
from mrdaemon.alerts.links import KEY as KEY_FILE
from mrdaemon.alerts.links import LinkError, Links, Reply, actions, key
from mrdaemon.core.instant import SECOND, Instant
from mrdaemon.places import KeyFileError
from tests.answering import EXPIRES, ID, KEY, NOW, PAGE, TOPIC, Open, Wall, links, tokens

BASE64 = set(string.ascii_letters + string.digits + "-_.")


@pytest.fixture
def made() -> Links:
    return links(Open(), Wall())


# The key


def test_a_key_is_made_once_and_for_its_user_alone(tmp_path: Path) -> None:
    first = key(tmp_path)
    assert len(first) == 32
    assert key(tmp_path) == first
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [KEY_FILE]


def test_each_state_directory_has_a_key_of_its_own(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    assert key(tmp_path / "a") != key(tmp_path / "b")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o777])
def test_a_key_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    key(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(KeyFileError, match=r"others may read or write it .* remove it"):
        key(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_FILE).write_bytes(content)
    (tmp_path / KEY_FILE).chmod(0o600)
    with pytest.raises(KeyFileError, match="it is no key"):
        key(tmp_path)


def test_a_link_in_place_of_the_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x" * 32)
    (tmp_path / KEY_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="it is a link"):
        key(tmp_path)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_in_place_of_the_key(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / KEY_FILE)
    with pytest.raises(KeyFileError, match="remove it"):
        key(tmp_path)


def test_a_key_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be made: No such file"):
        key(tmp_path / "nowhere")


# Tokens


def test_a_token_says_what_was_signed(made: Links) -> None:
    assert {answer: made.read(token, NOW) for answer, token in tokens(made).items()} == {
        "approve": Reply(ID, "approve", EXPIRES),
        "reject": Reply(ID, "reject", EXPIRES),
    }


@given(
    approval=st.from_regex(r"[a-z]{1,20}/[A-Z./]{1,20}/[1-9][0-9]{0,8}", fullmatch=True), left=st.integers(1, 10**17)
)
def test_any_request_survives_the_way_through_a_token(approval: str, left: int) -> None:
    requests = Open()
    requests.requests[approval] = Request(EXPIRES, left, "buy")
    made = links(requests, Wall())
    for answer, token in tokens(made, approval).items():
        assert made.read(token, NOW + left - 1) == Reply(approval, answer, EXPIRES)  # type: ignore[arg-type]
        assert set(token) <= BASE64


def test_a_token_is_of_use_until_its_request_expires(made: Links) -> None:
    token = tokens(made)["approve"]
    assert made.read(token, NOW + 600 * SECOND - 1).approval == ID
    with pytest.raises(LinkError, match=r"the time to answer core/BRK\.B/7 was over 60 s ago"):
        made.read(token, NOW + 660 * SECOND)


def test_every_changed_character_breaks_the_seal(made: Links) -> None:
    token = tokens(made)["approve"]
    for place, letter in enumerate(token):
        other = "A" if letter != "A" else "B"
        with pytest.raises(LinkError):
            made.read(token[:place] + other + token[place + 1 :], NOW)


def test_an_approval_cannot_be_made_of_a_rejection(made: Links) -> None:
    both = tokens(made)
    body, seal = both["approve"].split(".")[0], both["reject"].split(".")[1]
    with pytest.raises(LinkError, match="forged, altered, or belongs to another"):
        made.read(f"{body}.{seal}", NOW)


def test_a_token_of_another_instance_is_refused(made: Links) -> None:
    other = links(Open(), Wall(), key=b"o" * 32)
    with pytest.raises(LinkError, match="belongs to another mrdaemon"):
        made.read(tokens(other)["approve"], NOW)


@pytest.mark.parametrize("token", ["", ".", "..", "x", "x.y", "ü.ü", "\x00.\x00", "a" * 5000, "x." + "y" * 5000, "{}"])
def test_garbage_is_refused(made: Links, token: str) -> None:
    with pytest.raises(LinkError):
        made.read(token, NOW)


@given(st.text())
def test_any_text_is_read_or_refused(token: str) -> None:
    with pytest.raises(LinkError):
        links(Open(), Wall()).read(token, NOW)


@pytest.mark.parametrize(
    "payload",
    [[2, ID, "approve", 10**20, 1], [1, ID, "delete", 10**19, 1], {"version": 1}, [1], "x", [1, ID, "approve", "x", 1]],
)
def test_a_payload_of_another_version_is_refused_even_where_it_is_signed(made: Links, payload: object) -> None:
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    seal = base64.urlsafe_b64encode(made._seal(body)).rstrip(b"=").decode()
    with pytest.raises(LinkError, match="version of mrdaemon"):
        made.read(f"{body}.{seal}", NOW)


# Buttons


def test_with_a_page_buttons_post_to_it_and_links_lead_to_it() -> None:
    made = links(Open(), Wall(), page=f"{PAGE}/")
    for each in made.buttons(ID):
        assert each.url == each.link
        assert each.url.startswith(f"{PAGE}/answer/")
        assert each.body == ""


def test_with_a_topic_buttons_post_the_token_to_it() -> None:
    made = links(Open(), Wall(), page=None, topic=TOPIC)
    assert [(each.label, each.url, each.link) for each in made.buttons(ID)] == [
        ("Approve", TOPIC, ""),
        ("Reject", TOPIC, ""),
    ]


def test_with_both_buttons_use_the_topic_and_links_the_page() -> None:
    made = links(Open(), Wall(), topic=TOPIC)
    for each in made.buttons(ID):
        assert each.url == TOPIC
        assert each.link == f"{PAGE}/answer/{each.body}"


@pytest.mark.parametrize("page", ["https://me:s3cret@home.example/mrdaemon", None])
def test_no_password_of_an_address_is_given_to_who_reads_the_message(page: str | None) -> None:
    made = links(Open(), Wall(), page=page, topic="https://me:s3cret@ntfy.example:8443/answers-x")
    for each in made.buttons(ID):
        assert each.url == "https://ntfy.example:8443/answers-x"
        assert "s3cret" not in "".join(each)


def test_there_are_no_buttons_without_a_way_back_or_without_a_request() -> None:
    assert links(Open(), Wall(), page=None).buttons(ID) == ()
    assert links(Open(), Wall()).buttons("core/BRK.B/8") == ()


def test_actions_are_json_that_a_header_can_carry(made: Links) -> None:
    written = actions(made.buttons(ID))
    assert written.isascii()
    assert written.isprintable()
    assert [(each["action"], each["label"], each["method"], each["clear"]) for each in json.loads(written)] == [
        ("http", "Approve", "POST", True),
        ("http", "Reject", "POST", True),
    ]


def test_the_key_is_in_no_token(made: Links) -> None:
    for token in tokens(made).values():
        assert KEY not in base64.urlsafe_b64decode(token.partition(".")[0] + "==")


def test_a_request_of_another_journal_has_another_instant() -> None:
    requests, wall = Open(), Wall()
    made = links(requests, wall)
    token = tokens(made)["approve"]
    requests.requests[ID] = Request(Instant(EXPIRES + 1), 600 * SECOND, "buy")
    assert made.read(token, NOW).request != requests.requests[ID].expires
