"""Addresses of the people in the scenes: the same at every run, and nobody's among the shop's customers."""

import hashlib

from clarion.types.v1.address_pb2 import Address
from clarion_client import addresses
from clarion_local.demo.dataset.contacts import BUNDLE_ID


def phone(number: int) -> Address:
    """One of ten numbers kept for fiction (ATIS-0300048), in an area that no customer lives in."""
    return addresses.phone(f"+192555501{number:02}")


def device(name: str) -> Address:
    """An iPhone."""
    # The sandbox reads trouble from tokens that begin with letters.
    return addresses.ios(f"0{hashlib.sha256(name.encode()).hexdigest()[1:]}", bundle_id=BUNDLE_ID)


def mailbox(name: str) -> Address:
    """A mailbox in a domain of RFC 2606."""
    return addresses.mail(f"{name}@scenes.example.com")
