"""The capture step for CPUs, compiled: one read of the activations feeds everything.

Equal to `reference.take` to the bit: the same order of additions, the same ties. Neurons are independent,
so threads share out strips of neurons and never meet. Of each strip and sequence the values are first copied
into a block that stays in the near caches, widened from bf16 on the way; the loops over it are plain enough
for the compiler to take four or eight neurons at once. For that all arrays come whole, beside the first
neuron of the strip: of a part of an array the compiler does not know that neighbours adjoin.
"""

# pyright: basic, reportCallIssue=false
import inspect
from collections.abc import Callable
from functools import cache

import numba
import numpy as np
import torch
from jaxtyping import Float
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from torch import Tensor

from neuroscribe.capture.compiled_code import kept
from neuroscribe.capture.state import CapturePlan, LayerState
from neuroscribe.tables.scales import BINS, EIGHTH_OCTAVES, HALF_OCTAVES, HIGHEST_EXPONENT, LOWEST_EXPONENT

_FOR_WRITING, _FOR_LONG, _DATA = 1, 3, 1


@intrinsic
def prefetch(_, array, row, column):
    """Ask for the cache line of `array[row, column]`, which must lie within the array, to be written to."""
    # numba knows no prefetch, LLVM does (https://llvm.org/docs/LangRef.html, `llvm.prefetch`).

    def code(context, builder, signature, arguments):
        shape = signature.args[0]
        whole = context.make_array(shape)(context, builder, arguments[0])
        indices = [
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(arguments[1:], signature.args[1:], strict=True)
        ]
        place = cgutils.get_item_pointer(context, builder, shape, whole, indices, wraparound=False)
        address = builder.bitcast(place, ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [address.type, flag, flag, flag]),
            "llvm.prefetch.p0i8",
        )
        builder.call(function, [address, flag(_FOR_WRITING), flag(_FOR_LONG), flag(_DATA)])
        return context.get_dummy_value()

    return types.void(array, row, column), code


_STRIP = 512
"""Neurons a thread takes at once, at most: wide enough that the processor reads ahead along a row, and narrow
enough that the copied block and the bins in use stay in the near caches."""
_LINE = 16
"""Values to a cache line. A row of a block is longer by one: else the values of a neuron share few sets."""
_TOGETHER = 8
"""Tokens to one load and store of the running sums."""
_ZERO = np.float32(0)
"""Added to a value, turns -0.0 into 0.0, so that equal values have equal bits."""
_FIRST_STEP = 2 * (127 + LOWEST_EXPONENT) - 1
_LEAST, _MOST = np.float32(0.75 * 2.0**LOWEST_EXPONENT), np.float32(0.75 * 2.0**HIGHEST_EXPONENT)
"""Sizes in the middle bin and in the outermost ones: what is smaller or larger counts as these."""
_FIRST_PEAK_STEP = 8 * (127 + LOWEST_EXPONENT) - 1


def _compiled(*, parallel: bool = False, inline: bool = False, any_order: bool = False) -> Callable:
    """Return numba's compiler; it gets the bare function where tests have wrapped it to check shapes.

    `any_order` is for a minimum over values that are no NaN and whose zeros have one sign: exact however it
    is grouped, so eight or sixteen may be compared at once.
    """
    compiler = numba.njit(
        error_model="numpy",
        parallel=parallel,
        inline="always" if inline else "never",
        fastmath={"nnan", "nsz"} if any_order else False,
    )
    return lambda function: kept(compiler(inspect.unwrap(function)))


def take(
    state: LayerState,
    activations: Float[Tensor, "sequence position neuron"],
    ids: range,
    plan: CapturePlan,
    *,
    skipped: int = 0,
) -> bool:
    """Add the adjoining sequences `ids` to the top k, pools, moments and histograms.

    The first `skipped` positions of each are prefix tokens and not looked at. Returns whether all sums are
    finite.
    """
    finite = _take(
        _strip_width(activations.shape[2]),
        _bits(activations, state.top_vector.dtype),
        skipped,
        ids.start,
        plan.members(ids),
        *plan.arrays,
        plan.token_histogram,
        state.memory,
    )
    state.extend(ids.start, ids.stop)
    return bool(finite)


@cache
def _strip_width(neurons: int) -> int:
    """Return the width of strips that all threads get equally many of, in whole cache lines.

    Kept, since asking for the threads takes long; with other threads later, strips are shared less evenly.
    """
    threads = numba.get_num_threads()
    rounds = -(-neurons // (threads * _STRIP))
    share = -(-neurons // (threads * rounds))
    return -(-share // _LINE) * _LINE


def _bits(values: Float[Tensor, "..."], dtype: torch.dtype) -> np.ndarray:
    """Return the bits of the values in `dtype` as unsigned integers of that width."""
    if values.dtype != dtype or not values.is_contiguous():
        values = values.to(dtype).contiguous()
    return values.view(torch.uint16).numpy() if dtype == torch.bfloat16 else values.numpy().view(np.uint32)


@_compiled(parallel=True)
def _take(wide, raw, skipped, first_id, members, bounds, signs, counted, kept):
    neurons = raw.shape[2]
    # One flag to a strip: threads that wrote to a shared one would race.
    strips = (neurons + wide - 1) // wide
    finite = np.zeros(strips, dtype=np.bool_)
    for strip in numba.prange(strips):
        start = strip * wide
        finite[strip] = _take_strip(
            start, min(wide, neurons - start), raw, skipped, first_id, members, bounds, signs, counted, kept
        )
    return finite.all()


@_compiled()
def _take_strip(start, width, raw, skipped, first_id, members, bounds, signs, counted, kept):
    sequences, tokens = raw.shape[0], raw.shape[1] - skipped
    bits = np.empty((tokens, width + _LINE), dtype=np.int32)
    low = np.empty(width, dtype=np.float32)
    high = np.empty(width, dtype=np.float32)
    power = np.empty((4, width), dtype=np.float64)
    fired = np.zeros(width, dtype=np.int32)
    place = np.empty(width, dtype=np.uint32)
    peaks = np.empty((len(signs), sequences, width), dtype=np.float32)
    for s in range(sequences):
        _widen(raw[s], skipped, start, width, bits)
        _moments(bits.view(np.float32), kept.pivot[start : start + width], power, low, high, fired)
        _add(start, power, low, high, kept.sums, kept.extremes)
        if counted:
            _count(start, bits, place, kept.histogram.reshape(kept.histogram.size))
        for side in range(len(signs)):
            peak = peaks[side, s]
            peak[:] = (high if signs[side] > 0 else -low) + _ZERO
            for pool in range(members.shape[1]):
                if members[s, pool]:
                    _keep_top(
                        start, bits, first_id + s, peak, bounds[pool], bounds[pool + 1],
                        kept.threshold[side, pool], kept.top_value[side], kept.top_sequence[side],
                        kept.top_vector[side], place,
                    )  # fmt: skip
    for side in range(len(signs)):
        _count_peaks(start, peaks[side].view(np.int32), kept.peak_histogram[side])
    # Squares cannot cancel: one NaN or inf is enough to leave their sum without a finite value.
    finite = True
    for n in range(width):
        kept.positive[start + n] += fired[n]
        finite &= np.isfinite(kept.sums[1, start + n])
    return finite


@_compiled()
def _widen(raw, skipped, start, width, bits):
    """Copy a sequence's values as the bits of fp32; those of bf16 are its upper half.

    Of an unsigned place the compiler knows that it is not counted from the end, and takes many at once.
    """
    for t in range(bits.shape[0]):
        for n in range(width):
            value = np.uint32(raw[np.uint64(skipped + t), np.uint64(start + n)])
            bits[t, n] = np.int32(value << np.uint32(16) if raw.itemsize == 2 else value)


@_compiled()
def _add(start, power, low, high, sums, extremes):
    for p in range(4):
        for n in range(len(low)):
            sums[p, start + n] += power[p, n]
    for n in range(len(low)):
        least, most = extremes[0, start + n], extremes[1, start + n]
        extremes[0, start + n] = (low[n] if low[n] < least else least) + _ZERO
        extremes[1, start + n] = (high[n] if high[n] > most else most) + _ZERO


@_compiled(any_order=True)
def _smallest(values):
    smallest = values[0]
    for value in values:
        smallest = value if value < smallest else smallest
    return smallest


@_compiled()
def _moments(values, pivot, power, low, high, fired):
    """Sum powers over the tokens in order, and find extremes; eight tokens to one load and store."""
    # Additions of floats depend on their order: neurons lie side by side in a vector register, so that each
    # one's tokens still add up one after the other, as in `reference.take`.
    tokens, width = len(values), len(low)
    power[:] = 0.0
    low[:] = values[0, : len(low)]
    high[:] = values[0, : len(low)]
    whole = tokens - tokens % _TOGETHER
    for t in range(0, whole, _TOGETHER):
        for n in range(width):
            _add_powers(values, t, n, _TOGETHER, pivot, power)
        for n in range(width):
            _compare(values, t, n, _TOGETHER, low, high, fired)
    for t in range(whole, tokens):
        for n in range(width):
            _add_powers(values, t, n, 1, pivot, power)
        for n in range(width):
            _compare(values, t, n, 1, low, high, fired)


@_compiled(inline=True)
def _add_powers(values, first, n, tokens, pivot, power):
    # Locals stay in registers; sums in memory would be loaded and stored for each token.
    values_sum, squares, cubes, fourths = power[0, n], power[1, n], power[2, n], power[3, n]
    centre = np.float64(pivot[n])
    for step in range(tokens):
        centred = np.float64(values[first + step, n]) - centre
        square = centred * centred
        values_sum += centred
        squares += square
        cubes += square * centred
        fourths += square * square
    power[0, n], power[1, n], power[2, n], power[3, n] = values_sum, squares, cubes, fourths


@_compiled(inline=True)
def _compare(values, first, n, tokens, low, high, fired):
    least, most, above = low[n], high[n], fired[n]
    for step in range(tokens):
        value = values[first + step, n]
        least = value if value < least else least
        most = value if value > most else most
        above += np.int32(value > _ZERO)
    low[n], high[n], fired[n] = least, most, above


@_compiled()
def _count(start, bits, place, counts):
    """Count every value in its bin; those of one token lie in bins of different neurons."""
    # Three loops: the first two have neither branch nor scattered place and are taken many at once; the
    # additions, to places that depend on the values, cannot be.
    size = np.empty(len(place), dtype=np.float32)
    steps = size.view(np.int32)
    middle = (start + np.arange(len(place), dtype=np.int32)) * np.int32(BINS) + np.int32(HALF_OCTAVES)
    for t in range(len(bits)):
        values = bits[t].view(np.float32)
        for n in range(len(place)):
            magnitude = abs(values[n])
            magnitude = magnitude if magnitude > _LEAST else _LEAST
            size[n] = magnitude if magnitude < _MOST else _MOST
        # fp32 has 8 bits of exponent before 23 of mantissa: without the lowest 22, half octaves are left. The
        # sign bit, spread by the shift to 0 or -1, negates in two's complement: (m ^ -1) + 1 = -m.
        for n in range(len(place)):
            step, sign = (steps[n] >> 22) - _FIRST_STEP, bits[t, n] >> 31
            place[n] = middle[n] + ((step ^ sign) - sign)
        for n in range(len(place)):
            counts[place[n]] += 1


@_compiled()
def _count_peaks(start, bits, peak_histogram):
    """Count all sequences' peaks at once: bins lie far apart, and then stay near for the next sequence."""
    where = np.empty(bits.shape[1], dtype=np.int32)
    for s in range(bits.shape[0]):
        for n in range(bits.shape[1]):
            # Three bits of mantissa beside the exponent: eighths of an octave.
            steps = ((bits[s, n] & 0x7FFFFFFF) >> 20) - _FIRST_PEAK_STEP
            magnitude = min(max(steps, 0), EIGHTH_OCTAVES)
            where[n] = EIGHTH_OCTAVES + (magnitude if bits[s, n] >= 0 else -magnitude)
        for n in range(bits.shape[1]):
            prefetch(peak_histogram, start + n, where[n])
        for n in range(bits.shape[1]):
            peak_histogram[start + n, where[n]] += 1


@_compiled()
def _keep_top(
    start, bits, sequence, peaks, first, stop, least, top_value, top_sequence, top_vector, chosen
):  # fmt: skip
    """Find neurons whose list may change, then slots, then copy; each asks for what the next one needs."""
    # Parameters one by one, since `kept` holds both sides and this works on one. Few neurons pass, and which
    # ones no processor foresees: where the comparison is added there is no branch to guess.
    candidates = 0
    for n in range(len(peaks)):
        chosen[candidates] = n
        candidates += peaks[n] >= least[start + n]
    # Ids take 8 bytes, so that half a line's slots is the step that meets every line of ids and values.
    for place in range(candidates):
        for slot in range(first, stop, _LINE // 2):
            prefetch(top_value, start + chosen[place], slot)
            prefetch(top_sequence, start + chosen[place], slot)
    slots = np.full(candidates, -1)
    for place in range(candidates):
        n = chosen[place]
        neuron = start + n
        slot = _worst(least[neuron], top_value[neuron], top_sequence[neuron], first, stop)
        # A tie goes to the smaller sequence id: whichever shard or batch comes first, the same is kept.
        if peaks[n] > least[neuron] or sequence < top_sequence[neuron, slot]:
            slots[place] = slot
            for t in range(0, len(bits), _LINE):
                prefetch(top_vector[neuron], slot, t)
            top_value[neuron, slot] = peaks[n]
            top_sequence[neuron, slot] = sequence
            least[neuron] = _smallest(top_value[neuron, first:stop])
    for place in range(candidates):
        if slots[place] >= 0:
            _copy(bits, chosen[place], top_vector[start + chosen[place], slots[place]])


@_compiled(inline=True)
def _copy(bits, neuron, vector):
    for t in range(len(bits)):
        kept = np.uint32(bits[t, neuron])
        vector[t] = kept >> np.uint32(16) if vector.itemsize == 2 else kept


@_compiled()
def _worst(least, values, ids, first, stop):
    """Return the slot that gives way first: of those with the smallest value, the one with the largest id."""
    worst = first
    while worst < stop - 1 and values[worst] != least:
        worst += 1
    for slot in range(worst + 1, stop):
        if values[slot] == least and ids[slot] > ids[worst]:
            worst = slot
    return worst
