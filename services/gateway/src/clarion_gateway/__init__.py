"""The only public door: TLS, tokens, accept, forwarding."""
