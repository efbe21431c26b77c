import pytest
from pydantic import ValidationError

from clarion_channels.errortable import ErrorTable, load, parse
from clarion_channels.outcome import Outcome

TEXT = """
version = 3
source = "a test"

[[row]]
statuses = [400, 401]
reasons = ["Exact"]
outcome = "BAD"
note = "both fit"

[[row]]
reasons = ["5.1.1", "Exact"]
outcome = "DEAD"

[[row]]
statuses = [404, 0x58]
outcome = "DEAD"

[[default]]
first = 400
last = 449
outcome = "CRED"

[[default]]
first = 400
last = 499
outcome = "BAD"
"""


@pytest.fixture
def table() -> ErrorTable:
    return parse("test", TEXT)


@pytest.mark.parametrize(
    ("status", "reason", "outcome", "listed"),
    [
        (400, "Exact", Outcome.BAD, True),
        (401, "Exact", Outcome.BAD, True),
        (550, "Exact", Outcome.DEAD, True),
        (550, "5.1.1", Outcome.DEAD, True),
        (404, "", Outcome.DEAD, True),
        (404, "anything", Outcome.DEAD, True),
        (0x58, "", Outcome.DEAD, True),
        (400, "", Outcome.CRED, False),
        (450, "New", Outcome.BAD, False),
        (700, "", Outcome.RETRY, False),
    ],
)
def test_most_specific_row_wins_and_unlisted_codes_take_the_range_default(
    table: ErrorTable, status: int, reason: str, outcome: Outcome, listed: bool
) -> None:
    verdict = table.lookup(status, reason)
    assert (verdict.outcome, verdict.listed) == (outcome, listed)


def test_table_states_its_version_source_and_notes(table: ErrorTable) -> None:
    assert (table.name, table.version, table.source) == ("test", 3, "a test")
    assert table.lookup(400, "Exact").note == "both fit"


def test_code_of_an_unlisted_answer_is_marked_so_that_it_can_be_counted(table: ErrorTable) -> None:
    assert table.lookup(400, "Exact").code(400, "Exact") == "400:Exact"
    assert table.lookup(450, "New").code(450, "New") == "unlisted:450:New"
    assert table.lookup(404).code(404, "") == "404"


def test_code_holds_at_most_64_safe_characters_of_what_the_peer_wrote(table: ErrorTable) -> None:
    code = table.lookup(450, "x").code(450, "<b>\n" + "x" * 100)
    assert len(code) == 64
    assert code.startswith("unlisted:450:_b_x")


@pytest.mark.parametrize(
    "fault",
    [
        TEXT.replace('"CRED"', '"MAYBE"'),
        TEXT.replace("statuses = [404, 0x58]", ""),
        TEXT.replace("version = 3", ""),
        TEXT + "\nextra = 1\n",
    ],
    ids=["unknown outcome", "row that selects nothing", "no version", "unknown key"],
)
def test_broken_file_is_refused(fault: str) -> None:
    with pytest.raises(ValidationError):
        parse("test", fault)


def test_code_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="listed twice"):
        parse("test", TEXT.replace("[404, 0x58]", "[404, 404]"))


def test_missing_table_is_an_error_and_not_an_empty_table() -> None:
    with pytest.raises(FileNotFoundError):
        load("no-such-vendor")
