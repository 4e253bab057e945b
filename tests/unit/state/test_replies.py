"""Answers of scripts that nobody can read are failures like others, and no crash."""

from __future__ import annotations

import msgspec
import pytest

from gateway.errors import StoreUnsure
from gateway.state.records import Admitted
from gateway.state.replies import Reply


def test_an_answer_is_read_as_its_type() -> None:
    reply = Reply(Admitted).decode(msgspec.msgpack.encode(("open", 3, 2, False)))

    assert (reply.standing, reply.generation, reply.base, reply.fresh) == ("open", 3, 2, False)


@pytest.mark.parametrize(
    "reply", [b"", b"\xc1", msgspec.msgpack.encode(("what", 3, 2, False)), b"\x94\xa1\xff\x01\x01\xc2"]
)
def test_what_cannot_be_read_may_have_been_performed(reply: bytes) -> None:
    with pytest.raises(StoreUnsure) as caught:
        Reply(Admitted).decode(reply)
    assert caught.value.kind == "response"
