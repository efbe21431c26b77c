"""Secrets of Clarion's own making, as kinds that the scanner looks for."""

import re

from detect_secrets.plugins.base import RegexBasedDetector


class AppSecretDetector(RegexBasedDetector):
    """The secret of an app's key."""

    secret_type = "Clarion app secret"
    denylist = (re.compile(r"\bcs_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"),)


class KeyFileDetector(RegexBasedDetector):
    """A file of key-encryption keys or of keys that sign tokens."""

    secret_type = "Clarion key file"
    denylist = (re.compile(r'"[A-Za-z0-9]{1,16}"\s*:\s*"([A-Za-z0-9+/]{43}=)"'),)
