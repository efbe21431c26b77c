"""What is sent has the mix and the sizes that the figures mean."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client import Channel, Priority
from clarion_local.bench import traffic
from clarion_local.bench.sections.yardstick import together


def test_sixteen_in_a_row_are_the_mix_and_no_channel_comes_in_a_lump() -> None:
    pattern = traffic.pattern()

    assert Counter(pattern) == Counter(traffic.MIX)
    assert max(len(run) for run in "".join(str(int(channel)) for channel in pattern).split("5")) <= 4


def test_contents_have_the_sizes_that_are_said() -> None:
    content = traffic.content()

    assert content.push is not None
    assert content.mail is not None
    assert len(content.push.title + content.push.body) >= 400
    assert len((content.mail.text or "") + (content.mail.html or "")) >= 8_192
    assert 100 <= len(content.sms or "") <= 153


def test_same_number_makes_the_same_notification_for_one_recipient_on_one_channel() -> None:
    maker = traffic.Maker("run", 100, traffic.pattern(), Priority.URGENT)
    first, again = (pb.SendRequest.FromString(maker.single(7)).notification for _ in range(2))

    assert first == again
    assert len(first.recipient_ids) == len(first.channel_policy.channels) == 1
    assert Priority(first.priority) is Priority.URGENT
    assert first.template.name == traffic.TEMPLATE


def test_everybody_gets_something_on_every_channel() -> None:
    maker = traffic.Maker("run", 50, traffic.pattern())
    made = [maker.notification(number) for number in range(50 * 16)]

    assert len({(item.recipient_ids[0], item.channel_policy.channels[0]) for item in made}) == 50 * len(traffic.MIX)


def test_scheduled_ones_are_due_one_after_the_other() -> None:
    maker = traffic.Maker("run", 5, (Channel.IOS,), deliver_at=(1_900_000_000.0, 0.5))
    due = maker.notification(4).deliver_at.ToDatetime(UTC)

    assert due == datetime.fromtimestamp(1_900_000_002, UTC)
    assert maker.due(4) == 1_900_000_002.0


def test_those_that_go_at_once_are_not_due_at_any_time() -> None:
    with pytest.raises(ValueError, match="at once"):
        traffic.Maker("run", 5, (Channel.IOS,)).due(1)


@pytest.mark.parametrize(("event", "number"), [("run:12", 12), ("other:12", None), ("run:x", None), ("run", None)])
def test_event_ids_of_other_runs_are_told_apart(event: str, number: int | None) -> None:
    assert traffic.number_of("run", event) == number


def test_the_machines_limit_is_the_time_of_all_parts_together() -> None:
    assert together(1_000, 1_000, 1_000, 500, mails=0.5) == pytest.approx(1 / (0.001 + 0.001 + 0.0005 + 0.001))


def test_a_limit_needs_every_part() -> None:
    with pytest.raises(ValueError, match="every part"):
        together(1, 0, 1, 1, mails=0.3)
