"""What a push looks like on each platform: from one content to the payloads, and whether they fit. Pure rules."""
