"""Names for statistics are those of the contract."""

from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion_client.calls.tracking import Bucket, Dimension


def test_names_of_statistics_are_those_of_the_contract() -> None:
    for ours, contract, prefix in (
        (Dimension, pb.StatsDimension, "STATS_DIMENSION_"),
        (Bucket, pb.StatsBucket, "STATS_BUCKET_"),
    ):
        named = {name.removeprefix(prefix): number for name, number in contract.items() if number}
        assert {member.name: member.value for member in ours} == named
