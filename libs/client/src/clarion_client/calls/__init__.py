"""The public RPCs, each described once: friendly arguments in, the contract's request out."""
