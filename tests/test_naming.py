"""Names on disk and default scopes: one for each id, on every file system, whatever a user puts into an id."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, strategies as st

from mediastore import naming
from mediastore.errors import InvalidRequest
from mediastore.model import check_scope

NASTY = st.sampled_from(
    [".", "..", "con", "CON.txt", "nul", "a.", "a ", "~", "~~", "%", "%2e", "/", "\x00"]
)
IDS = st.one_of(
    NASTY,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=150),
    st.text("aAbB%~.7f", min_size=1, max_size=12),
)
SEGMENT = re.compile(r"[A-Za-z0-9%~_@+=,-][A-Za-z0-9%~._@+=,-]*")
SHA = "3a" * 32


def folded(text):
    """Return how the least careful file system compares a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def respelt(text):
    """Return ids that look like `text` and are others."""
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    forms |= {text.lower(), text.upper(), text.swapcase(), text.title(), text + ".", text + " "}
    return forms | {naming.safe_id(text), text[:-1] or "x"}


@given(IDS)
@example("A" * 121)
@example("İ")
@example("com1.tar.gz")
def test_a_segment_is_short_plain_and_no_special_name(text):
    segment = naming.safe_id(text)

    assert SEGMENT.fullmatch(segment)
    assert len(segment) <= 200
    assert not segment.endswith(".")
    stem = segment.split(".")[0].lower()
    assert not re.fullmatch(r"con|prn|aux|nul|conin|conout|(?:com|lpt)\d", stem)


@given(IDS, IDS)
@example("a~1", "A")
@example("x" * 130, "x" * 131)
@example("é" * 60, "é" * 60 + "e")
def test_two_ids_never_share_a_segment_even_where_case_and_unicode_forms_do_not_count(one, two):
    others = {two} | respelt(one)

    for other in others - {one}:
        assert folded(naming.safe_id(one)) != folded(naming.safe_id(other))


@given(st.text("aA", min_size=1, max_size=8), st.text("aA", min_size=1, max_size=8))
def test_ids_that_differ_in_case_alone_get_two_segments(one, two):
    same = naming.safe_id(one).lower() == naming.safe_id(two).lower()

    assert same == (one == two)


def test_a_cut_segment_is_none_that_an_uncut_id_can_have():
    cut = naming.safe_id("a" * 300)

    assert cut.startswith("a" * 120 + "~~")
    assert naming.safe_id(cut) != cut
    assert naming.safe_id(cut[:100]) != cut
    assert "~~" not in naming.safe_id("a" * 120)


def test_a_cut_segment_holds_no_half_of_an_escape():
    for size in range(110, 121):
        body = naming.safe_id("x" * size + "€" * 20).partition("~~")[0]

        assert not re.search(r"%.?\Z", body)


@pytest.mark.parametrize(
    ("text", "segment"),
    [
        ("session-abc", "session-abc"),
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("telegram:42", "telegram%3a42"),
        ("user@example.org", "user@example.org"),
        ("ABC", "ABC~7"),
        ("aBc", "aBc~2"),
        ("..", "%2e%2e"),
        (".", "%2e"),
        (".hidden", "%2ehidden"),
        ("con", "%63on"),
        ("con.txt", "%63on.txt"),
        ("console", "console"),
        ("a/b", "a%2fb"),
        ("a~1", "a%7e1"),
        ("é", "%c3%a9"),
        ("e\u0301", "e%cc%81"),
    ],
)
def test_segments_read_as_the_ids_they_are_made_of(text, segment):
    assert naming.safe_id(text) == segment


@pytest.mark.parametrize("text", ["", "\ud800", "a\udcff", None, 7, b"id"])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(InvalidRequest):
        naming.safe_id(text)
    with pytest.raises(InvalidRequest):
        naming.default_scope("session", text)


@pytest.mark.parametrize(
    ("mode", "directory"),
    [("session", "sessions"), ("conversation", "conversations"), ("run", "runs")],
)
def test_files_lie_by_organization(mode, directory):
    path = naming.organized(mode, "chat:1", 3, 2, "r" * 22, ".png")

    assert path == f"{directory}/chat%3a1/3_2_{'r' * 22}.png"


def test_indexes_that_are_not_said_are_zero():
    assert (
        naming.organized("run", "7", None, None, "r" * 16, ".bin") == f"runs/7/0_0_{'r' * 16}.bin"
    )


def test_files_lie_by_content_under_the_first_two_digits_of_the_hash():
    assert naming.content(SHA, "b" * 22, ".jpg") == f"content/3a/{SHA}_{'b' * 22}.jpg"


@pytest.mark.parametrize("word", ["../x", "a/b", "", "\x00"])
def test_no_part_of_a_name_leaves_its_directory(word):
    with pytest.raises(InvalidRequest):
        naming.organized("run", "7", 0, 0, word, ".png")
    with pytest.raises(InvalidRequest):
        naming.organized("run", "7", 0, 0, "r" * 16, f".{word}")
    with pytest.raises(InvalidRequest):
        naming.content(word, "b", ".png")
    with pytest.raises(InvalidRequest):
        naming.content(SHA, word, ".png")
    with pytest.raises(InvalidRequest):
        naming.content(SHA, "b", word)


@pytest.mark.parametrize("mode", ["", "sessions", "Session", None, ["run"]])
def test_an_unknown_organization_is_refused(mode):
    with pytest.raises(InvalidRequest, match="session, conversation, run"):
        naming.organized(mode, "7", 0, 0, "r" * 16, ".png")
    with pytest.raises(InvalidRequest, match="session, conversation, run"):
        naming.default_scope(mode, "7")


@given(IDS)
@example("€" * 400)
@example("/" * 600)
@example("a" * 399 + "€")
def test_every_id_has_a_default_scope_of_two_segments(text):
    scope = naming.default_scope("conversation", text)

    assert check_scope(scope) == scope
    assert scope.startswith("conversation/")
    assert scope.count("/") == 1


@given(IDS, IDS)
@example("%2F", "/")
@example("..", "%2E%2E")
@example("a" * 401, "a" * 402)
def test_two_ids_never_share_a_default_scope(one, two):
    same = naming.default_scope("run", one) == naming.default_scope("run", two)

    assert same == (one == two)


def test_a_cut_default_scope_is_none_that_an_uncut_id_can_have():
    cut = naming.default_scope("run", "a" * 500).removeprefix("run/")

    assert "%~" in cut
    assert naming.default_scope("run", cut[-64:]) != f"run/{cut}"
    assert naming.default_scope("run", cut) != f"run/{cut}"


def test_a_cut_default_scope_holds_no_half_of_an_escape():
    for size in range(390, 401):
        body = naming.default_scope("run", "x" * size + "/" * 20).partition("%~")[0]

        assert not re.search(r"%.?\Z", body)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("abc", "session/abc"),
        ("telegram:42", "session/telegram:42"),
        ("a/b", "session/a%2Fb"),
        ("100%", "session/100%25"),
        ("..", "session/%2E%2E"),
        ("...", "session/..."),
        ("жар", "session/жар"),
        ("a\nb", "session/a%0Ab"),
    ],
)
def test_default_scopes_read_as_the_ids_they_are_made_of(text, scope):
    assert naming.default_scope("session", text) == scope
