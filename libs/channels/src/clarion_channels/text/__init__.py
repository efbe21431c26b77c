"""How text is counted, coded and cut for SMS. Pure rules."""
