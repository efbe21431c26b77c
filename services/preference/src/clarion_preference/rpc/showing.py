"""Recipients as their app sees them."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from clarion.notification.v1 import state_pb2
from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion.suppression.v1 import suppression_pb2
from clarion_kit.vocabulary import Channel
from clarion_preference.recipients import DeliveryTo, Everything, KnownAddress, Profile, WishChange
from clarion_preference.suppressions import Entry
from clarion_preference.wire import (
    address_to_proto,
    attributes_to_proto,
    channel_to_proto,
    facts_to_proto,
    wishes_to_proto,
)


def show_recipient(profile: Profile) -> pb.Recipient:
    """Without addresses."""
    return pb.Recipient(
        recipient_id=profile.recipient_id,
        locale=profile.locale,
        time_zone=profile.time_zone,
        country=profile.country,
        wishes=wishes_to_proto(profile.wishes),
        attributes=attributes_to_proto(profile.attributes) if profile.attributes else None,
    )


def show_address(address: KnownAddress) -> pb.StoredAddress:
    """Masked."""
    return pb.StoredAddress(
        address_id=str(address.address_id),
        channel=channel_to_proto(address.channel),
        masked=address.masked,
        status=pb.AddressStatus.ValueType(address.status),
        registered_at=_moment(address.registered_at),
        facts=None if address.facts is None else facts_to_proto(address.facts),
        push_environment=address.push_environment,
    )


def show_change(change: WishChange) -> pb.WishChange:
    return pb.WishChange(
        at=_moment(change.at),
        way=pb.WishChangeWay.ValueType(change.way),
        who=change.who,
        before=None if change.before is None else wishes_to_proto(change.before),
        after=None if change.after is None else wishes_to_proto(change.after),
        revision=change.revision,
        stopped=change.stopped,
    )


def show_entry(entry: Entry) -> suppression_pb2.Suppressed:
    """An entry of the suppression list."""
    return suppression_pb2.Suppressed(
        address=None if entry.address is None else address_to_proto(entry.address),
        channel=channel_to_proto(entry.channel),
        reason=suppression_pb2.SuppressionReason.ValueType(entry.reason),
        source=suppression_pb2.SuppressionSource.ValueType(entry.source),
        since=_moment(entry.place.since),
        note=entry.note,
    )


def show_everything(everything: Everything) -> pb.ExportRecipientResponse:
    """Opened: for the app alone."""
    return pb.ExportRecipientResponse(
        recipient=show_recipient(everything.profile),
        addresses=[
            pb.ExportedAddress(
                stored=show_address(known),
                address=None if known.address is None else address_to_proto(known.address),
            )
            for known in everything.profile.addresses
        ],
        former_ids=everything.former_ids,
        topics=everything.topics,
        wish_changes=[show_change(change) for change in everything.wish_changes],
        suppressed=[show_entry(entry) for entry in everything.suppressed],
        deliveries=[_delivery(delivery) for delivery in everything.deliveries],
        created_at=_moment(everything.created_at),
    )


def _delivery(delivery: DeliveryTo) -> pb.ExportedDelivery:
    return pb.ExportedDelivery(
        delivery_id=str(delivery.delivery_id),
        notification_id=str(delivery.notification_id),
        channel=channel_to_proto(Channel(delivery.channel)),
        state=state_pb2.DeliveryState.ValueType(delivery.state),
        reason=state_pb2.Reason.ValueType(delivery.reason),
        receipt=state_pb2.Receipt.ValueType(delivery.receipt),
        planned_at=_moment(delivery.planned_at),
    )


def _moment(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
