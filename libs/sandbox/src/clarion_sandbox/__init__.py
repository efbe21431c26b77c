"""Providers to practise on: APNs, FCM, Web Push, an SMSC and an SMTP relay that check what the real ones check.

Nothing of Clarion's own channel code is imported here, so that a mistake there cannot hide itself here.
"""
