"""Recordings of webhooks: the lines of such a file, writing it, reading it.

The gateway writes one where `record.path` is set, `gateway record` writes one by itself, and `gateway replay` plays it.
The format belongs to none of them, so it is here, below both the web layer and the commands. What a body *means* is
not known here: it is bytes, recorded and given back as they came.
"""
