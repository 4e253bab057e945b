"""What the gateway tells about itself: metrics, and logs in one structure.

Here belong the instruments and their text formats. What is measured, and when, is decided where it happens:
the objects are handed in, nothing here is global but the configuration of the log. No I/O except writing log
lines.
"""
