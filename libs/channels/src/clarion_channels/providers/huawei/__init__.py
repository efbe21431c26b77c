"""Huawei Push Kit, v1 and v2."""

from clarion_channels.providers.huawei.provider import Factory, HuaweiProvider

__all__ = ["Factory", "HuaweiProvider"]
