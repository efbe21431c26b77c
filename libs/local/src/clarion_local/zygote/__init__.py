"""One process that pays for the imports once and forks a daemon per request.

A daemon spends about a second of CPU on imports before it does anything. The zygote imports them once, freezes them
out of the garbage collector's sight (so pages stay shared) and forks, always before any gRPC object, event loop or
thread exists.
"""
