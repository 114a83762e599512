"""Names that are the same for the same thing, and different for different things."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillfarm.domain.ids import derived_id, digest_bytes, fresh_id, is_digest

_PARTS = st.lists(st.text(max_size=6), max_size=4)


@given(_PARTS, _PARTS)
def test_derived_ids_are_equal_exactly_when_their_parts_are(
    left: list[str], right: list[str]
) -> None:
    assert (derived_id("job", *left) == derived_id("job", *right)) == (left == right)


def test_parts_do_not_run_into_each_other() -> None:
    assert derived_id("job", "ab", "c") != derived_id("job", "a", "bc")
    assert derived_id("job", "1:a") != derived_id("job", "a")


@given(st.binary(max_size=64))
def test_a_digest_names_its_bytes_by_sha256(content: bytes) -> None:
    digest = digest_bytes(content)
    assert is_digest(digest)
    assert digest.removeprefix("sha256:") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "0" * 64,
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 64 + "\n",
        "sha256:../../etc/passwd",
        "md5:" + "0" * 64,
    ],
)
def test_what_is_no_digest_is_known(text: str) -> None:
    assert not is_digest(text)


def test_fresh_ids_name_their_kind_and_differ() -> None:
    ids = {fresh_id("study") for _ in range(200)}
    assert len(ids) == 200
    assert all(each.startswith("study-") for each in ids)
