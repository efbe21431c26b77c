"""The mail relay: an SMTP submission server."""
