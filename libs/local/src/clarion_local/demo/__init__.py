"""The demonstration: an example shop with people in many countries, run against the sandbox and checked to the last message."""
