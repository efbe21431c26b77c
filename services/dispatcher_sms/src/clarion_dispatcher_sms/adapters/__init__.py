"""Where what a carrier sends us is kept."""
