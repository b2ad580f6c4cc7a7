"""Models as plain values."""

from __future__ import annotations

from libs.client.risk.models import plain_model
from luxor.risk.v1 import models_pb2 as pb


def test_a_model_of_an_answer_that_0_2_stored_has_no_days_and_is_read() -> None:
    window = pb.DataWindow.FromString(
        b"\x08\x96\xa2\x01\x10\xb3\xa2\x01\x18\x05"
    )  # days as numbers in 1 and 2, outcomes 3
    plain = plain_model(pb.Model(version="m+1", state=pb.MODEL_STATE_CHAMPION, window=window))
    assert plain["window"] == {"first_day": 0, "last_day": 0, "outcomes": 5, "violations": 0, "source": ""}
