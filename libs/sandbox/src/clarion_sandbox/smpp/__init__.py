"""The SMSC: an SMPP 3.4 server with delivery receipts."""
