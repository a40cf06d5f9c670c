"""CRC-32C (Castagnoli) of long buffers, by numpy: the checksum that TensorFlow's files carry and Python lacks.

A CRC is linear, so a buffer is cut into rows whose CRCs are computed side by side, four bytes of every row at a time,
and then joined in pairs. Source: RFC 3720, appendix B.4; masking: LevelDB's util/crc32c.h
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

POLYNOMIAL = 0x82F63B78  # bits reversed
BLOCK = 4 * 2**20  # bytes at a time, so that memory stays small
BITS = np.arange(32, dtype=np.uint32)

Words = np.ndarray  # of uint32


def masked(data: bytes | bytearray | memoryview) -> int:
    """The CRC-32C as it is stored: rotated and shifted, because a CRC of data with a CRC in it means little."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """The CRC-32C of a buffer."""
    crc, buffer = np.uint32(0xFFFFFFFF), np.frombuffer(data, np.uint8)
    for start in range(0, len(buffer), BLOCK):
        block = buffer[start : start + BLOCK]
        crc = _shift(crc, len(block)) ^ _linear(block)
    return int(crc) ^ 0xFFFFFFFF


def _linear(block: np.ndarray) -> np.uint32:
    """The CRC of a block that starts from zero. Zeros in front of it change nothing then, so they fill its rows."""
    length = 4 << min(8, len(block).bit_length() // 2)  # of a row: few steps in a row, few rows to join
    rows = np.zeros(-(-len(block) // length) * length, np.uint8)
    rows[len(rows) - len(block) :] = block
    words = np.ascontiguousarray(rows.view("<u4").reshape(-1, length // 4).T)  # (words of a row, rows)
    low, high = _tables()
    crcs = np.zeros(words.shape[1], np.uint32)
    for word in words:
        crcs ^= word
        crcs = low[crcs & 0xFFFF] ^ high[crcs >> 16]
    while len(crcs) > 1:
        crcs = np.concatenate([np.zeros(len(crcs) % 2, np.uint32), crcs])
        crcs = _shift(crcs[0::2], length) ^ crcs[1::2]
        length *= 2
    return crcs[0]


@cache
def _tables() -> tuple[Words, Words]:
    """What four bytes of zeros make of a CRC's lower 16 bits, and of its upper 16."""
    half = np.arange(2**16, dtype=np.uint32)
    return _zeros(half, 32), _zeros(half << 16, 32)


def _zeros(crcs: Words, bits: int) -> Words:
    """CRCs after so many zero bits."""
    for _ in range(bits):
        crcs = (crcs >> 1) ^ np.where(crcs & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    return crcs


def _shift(crcs: Any, length: int) -> Any:
    """One CRC or many after ``length`` zero bytes: the images of their single bits, added up."""
    return np.bitwise_xor.reduce((crcs[..., None] >> BITS & 1) * _images(length), axis=-1)


@cache
def _images(length: int) -> Words:
    """What ``length`` zero bytes make of each single bit, found by doubling."""
    if length == 0:
        return np.uint32(1) << BITS
    if length % 2:
        return _zeros(_images(length - 1), 8)
    return _shift(_images(length // 2), length // 2)
