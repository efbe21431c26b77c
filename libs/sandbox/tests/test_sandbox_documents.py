"""The tables that people read say what the program does."""

import re
from pathlib import Path
from typing import get_args

import pytest

from clarion_sandbox import addresses, answers
from clarion_sandbox.chance import Chance
from clarion_sandbox.fates import Fates
from clarion_sandbox.faults import FaultRule, FaultScript
from clarion_sandbox.http2_faults import ConnectionFault, RequestFault

HERE = Path(__file__).resolve().parents[1]
README = (HERE / "README.md").read_text("utf-8")


def test_addresses_table_is_made_from_the_answers() -> None:
    made = "run: python -m clarion_sandbox.addresses > libs/sandbox/ADDRESSES.md"
    assert (HERE / "ADDRESSES.md").read_text("utf-8") == addresses.table(), made


@pytest.mark.parametrize("provider", [name for name in answers.PROVIDERS if not name.endswith("_token")])
def test_every_address_of_the_table_gets_the_answer_beside_it(provider: str) -> None:
    tables = {name: answers.load(name) for name in answers.PROVIDERS}
    fates = Fates(tables, FaultScript(tables))
    for row in tables[provider]:
        address = addresses.address(provider, row.code).replace("…", "f" * 30)
        assert fates.decide(provider, address.lstrip("+")) == row


def test_every_field_of_a_fault_script_is_documented() -> None:
    told = set(re.findall(r"^\| `(\w+)`", README.partition("## Fault script")[2].partition("\n## ")[0], re.MULTILINE))
    models = (Chance, FaultRule, RequestFault, ConnectionFault)
    assert {name for model in models for name in model.model_fields} - {"fault"} <= told


def test_every_fault_of_http2_is_documented() -> None:
    section = README.partition("## Fault script")[2].partition("\n## ")[0]
    for model in (RequestFault, ConnectionFault):
        for name in get_args(model.model_fields["fault"].annotation):
            assert f'`"{name}"`' in section
