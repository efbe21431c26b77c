"""Template sources: how they are cut, what they may say, how they are rendered. Pure; no I/O."""
