"""How a mail is built: frames once per template version, whole messages in microseconds. Pure rules."""
