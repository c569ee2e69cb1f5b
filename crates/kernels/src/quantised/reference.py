"""Writes reference.txt: what bitsandbytes makes of matrices that the tests make as well.

    pip install bitsandbytes==0.50.2 torch numpy && python reference.py > reference.txt
"""
import numpy as np
import torch
from bitsandbytes import functional

TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def values(rows, columns):
    """The matrix of the tests: its first row is zero, its second a thousand times larger than the others."""
    index = np.arange(rows * columns, dtype=np.uint64)
    uniform = (index * np.uint64(2654435761) % np.uint64(2**32)).astype(np.float64) / 2**32 - 0.5
    matrix = (uniform * uniform * uniform).reshape(rows, columns)
    if rows > 2:
        matrix[0], matrix[1] = 0.0, matrix[1] * 1000.0
    return torch.from_numpy(matrix.astype(np.float32))


def line(*fields):
    print(*(field.tobytes().hex() if isinstance(field, np.ndarray) else field for field in fields))


line("map", functional.create_dynamic_map().numpy())
for rows, columns in [(1, 1), (3, 5), (4, 64), (5, 96), (140, 120)]:
    large = rows * columns > 64 * 256  # More than one block of scales.
    for name, dtype in list(TYPES.items())[:1] if large else TYPES.items():
        matrix = values(rows, columns).to(dtype)
        packed, state = functional.quantize_4bit(matrix, blocksize=64, compress_statistics=True, quant_type="nf4")
        offset = np.array([state.offset.item()], dtype=np.float32)
        line("nf4", rows, columns, name, packed.numpy(), state.absmax.numpy(), state.state2.absmax.numpy(), offset)
        if large:
            continue
        codes, scales, _ = functional.int8_vectorwise_quant(matrix.half())
        line("int8", rows, columns, name, codes.numpy(), scales.numpy())
