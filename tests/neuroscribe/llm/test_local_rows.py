"""Rows: what sees what, where everything stands, and which rows are computed together."""

import torch

from neuroscribe.llm.local_reading import batches, inputs, visible
from neuroscribe.ports.rows import Row

ASKED = Row([10, 11, 12, 13, 14], [2, 4], ((2, 3), (3, 5)))
LINES = Row([20, 21], [1])


def test_every_question_stands_right_behind_the_text() -> None:
    assert ASKED.positions() == [0, 1, 2, 2, 3]
    assert ASKED.stretches() == [0, 0, 1, 2, 2]


def test_a_row_without_questions_is_all_text() -> None:
    assert LINES.positions() == [0, 1]
    assert LINES.stretches() == [0, 0]


def test_questions_see_the_text_and_themselves_and_nothing_sees_the_filling() -> None:
    seen = visible(torch.tensor([[0, 0, 1, 2, 2, -1]]))[0].int().tolist()

    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 1, 0, 0],
        [1, 1, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


def test_the_mask_lets_all_see_the_prefix_and_fits_the_dtype() -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        given = inputs([ASKED, LINES], 3, device=torch.device("cpu"), dtype=dtype)
        mask = given["attention_mask"]

        assert (mask.shape, mask.dtype) == ((2, 1, 5, 8), dtype)
        assert mask.isfinite().all()
        assert (mask[..., :3] == 0).all()
        assert mask[0, 0, 3, 3:].tolist() == [0, 0, torch.finfo(dtype).min, 0, torch.finfo(dtype).min]
        assert given["position_ids"].tolist() == [[3, 4, 5, 5, 6], [3, 4, 3, 3, 3]]
        assert given["input_ids"].tolist() == [[10, 11, 12, 13, 14], [20, 21, 21, 21, 21]]


def test_rows_without_questions_are_left_to_the_models_own_attention() -> None:
    given = inputs([LINES, Row([1, 2, 3], [2])], 3, device=torch.device("cpu"), dtype=torch.float32)

    assert given.keys() == {"input_ids"}


def test_rows_are_computed_together_in_order_as_far_as_there_are_places() -> None:
    rows = [Row([1] * length, [0]) for length in (2, 2, 3, 1, 9, 1)]

    assert [[len(row.tokens) for row in batch] for batch in batches(rows, 6)] == [[2, 2], [3, 1], [9], [1]]
    assert list(batches(rows, 100)) == [rows]
    assert list(batches([], 6)) == []
