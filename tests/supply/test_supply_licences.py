"""Licences: every package of an image has a known one that an image may hold."""

from email.message import Message

import pytest

from . import licences
from .licences import ALLOWED_FOR, NAMED_BY_HAND, UnknownLicence, allowed, licence_of
from .locked import Locked


def test_images_hold_nothing_whose_licence_is_not_allowed(runtime: list[Locked]) -> None:
    refused = {one.name: told for one in runtime if not allowed(one.name, told := licence_of(one.name))}

    assert refused == {}, "not in ALLOWED: leave the package out of images, or decide and add its licence"


def test_nothing_is_named_or_allowed_in_vain(runtime: list[Locked]) -> None:
    names = {one.name for one in runtime}

    assert set(NAMED_BY_HAND) | set(ALLOWED_FOR) <= names


@pytest.mark.parametrize(
    ("name", "expression", "good"),
    [
        ("x", "MIT", True),
        ("x", "GPL-3.0-only", False),
        ("x", "MIT OR GPL-3.0-only", True),
        ("x", "MIT AND GPL-3.0-only", False),
        ("x", "(MIT OR GPL-3.0-only) AND Apache-2.0", True),
        ("x", "GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("x", "LGPL-3.0-only", False),
        ("psycopg", "LGPL-3.0-only", True),
        ("psycopg", "AGPL-3.0-only", False),
    ],
)
def test_expression_is_allowed_if_one_of_its_choices_is(name: str, expression: str, good: bool) -> None:
    assert allowed(name, expression) is good


def described(*fields: tuple[str, str]) -> Message:
    message = Message()
    for name, value in fields:
        message[name] = value
    return message


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT OR Apache-2.0"), ("License", "something")], "MIT OR Apache-2.0"),
        ([("License", "BSD-3-Clause")], "BSD-3-Clause"),
        ([("License", "Apache License, Version 2.0")], "Apache-2.0"),
        ([("License", "The whole text of it"), ("Classifier", "License :: OSI Approved :: MIT License")], "MIT"),
    ],
)
def test_licence_is_read_from_what_metadata_say(
    monkeypatch: pytest.MonkeyPatch, fields: list[tuple[str, str]], licence: str
) -> None:
    monkeypatch.setattr(licences, "metadata", lambda name: described(*fields))

    assert licence_of("x") == licence


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("License", "free as in beer")],
        [("Classifier", "License :: OSI Approved :: BSD License")],
        [
            ("Classifier", "License :: OSI Approved :: MIT License"),
            ("Classifier", "License :: OSI Approved :: Apache Software License"),
        ],
    ],
)
def test_unknown_licence_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, fields: list[tuple[str, str]]
) -> None:
    monkeypatch.setattr(licences, "metadata", lambda name: described(*fields))

    with pytest.raises(UnknownLicence, match=r"strange-package.*NAMED_BY_HAND"):
        licence_of("strange-package")


def test_table_has_a_line_for_each_package() -> None:
    packages = [Locked("h2", "4.4.1", ()), Locked("uvloop", "0.23.0", ())]

    lines = licences.table(packages).splitlines()

    assert [line.split(maxsplit=2) for line in lines] == [
        ["h2", "4.4.1", "MIT"],
        ["uvloop", "0.23.0", "MIT OR Apache-2.0"],
    ]
