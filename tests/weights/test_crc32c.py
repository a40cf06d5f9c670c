import pytest

from glassgpt.weights.crc32c import BLOCK, POLYNOMIAL, crc32c, masked


def bitwise(data: bytes) -> int:
    """The definition: a division of polynomials, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "crc"),
    [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)],
)
def test_published_values(data, crc):
    """RFC 3720, appendix B.4."""
    assert crc32c(data) == crc


@pytest.mark.parametrize("length", [1, 3, 4, 5, 7, 8, 63, 64, 65, 1023, 1024, 1025, 3079, 9216])
def test_any_length_agrees_with_the_definition(length):
    data = bytes(i * i % 251 for i in range(length))
    assert crc32c(data) == bitwise(data)


def test_blocks_are_joined():
    data = bytearray(2 * BLOCK + 5)
    empty = crc32c(data)
    data[0] = 1
    assert crc32c(data) != empty
    assert crc32c(memoryview(data)) == crc32c(bytes(data))


def test_the_mask_is_leveldbs():
    assert masked(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32
