"""Asks the processor for memory that compiled code is about to need, while it works on something else."""

# pyright: basic
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_FOR_WRITING, _FOR_LONG, _DATA = 1, 3, 1


@intrinsic
def prefetch(typing_context, array, row, column):
    """Ask for the cache line of `array[row, column]`, which must lie within the array, to be written to."""
    del typing_context

    def code(context, builder, signature, arguments):
        shape = signature.args[0]
        whole = context.make_array(shape)(context, builder, arguments[0])
        indices = [
            context.cast(builder, value, own, types.intp)
            for value, own in zip(arguments[1:], signature.args[1:], strict=True)
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
