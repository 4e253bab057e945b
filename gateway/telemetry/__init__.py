"""What the gateway tells about itself: metrics, logs in one structure, and traces where they are wanted.

Here belong the instruments and their text formats. What is measured, and when, is decided where it happens:
the objects are handed in, nothing here is global but the configuration of the log. No I/O except writing log
lines and sending spans.
"""
