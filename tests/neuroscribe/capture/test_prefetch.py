import numba
import numpy as np

from neuroscribe.capture.kernel import prefetch


@numba.njit
def asked(values, row, column):
    prefetch(values, row, column)
    return values[row, column]


def test_a_line_is_asked_for_by_an_instruction_and_its_values_stay():
    values = np.arange(12.0).reshape(3, 4)
    assert [asked(values, np.int32(1), 2), asked(values, np.uint32(2), np.int64(3))] == [6.0, 11.0]
    assert (values == np.arange(12.0).reshape(3, 4)).all()
    for code in asked.inspect_llvm().values():
        assert "call void @llvm.prefetch" in code
