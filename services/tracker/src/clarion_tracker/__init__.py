"""What came back: receipts, opens, statistics."""
