"""Renders what nobody vouches for yet (drafts, previews) in a process that may be killed."""
