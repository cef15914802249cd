"""As much of protobuf's wire form as a pollster needs.

A real plugin would take the classes that protoc makes of sdk/wire/*.proto; this
one shows that there is no magic in the bytes.
"""
import struct


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def zigzag(n):
    return n << 1 if n >= 0 else (-n << 1) - 1


def field(number, value):
    """A field: an int, or text, bytes or an encoded message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def column(number, values):
    """A packed repeated field of unsigned integers."""
    return field(number, b"".join(map(varint, values)))


def signed(number, values):
    """A packed repeated sint64."""
    return column(number, map(zigzag, values))


def doubles(number, values):
    """A packed repeated double."""
    return field(number, b"".join(struct.pack("<d", v) for v in values))


def parse(data):
    """The fields of a message: number -> list of ints or bytes, in order."""
    fields, at = {}, 0

    def read():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n

    while at < len(data):
        key = read()
        kind = key & 7
        if kind == 0:
            value = read()
        else:
            size = {1: 8, 5: 4}.get(kind) or read()
            value, at = data[at : at + size], at + size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def text(fields, number):
    return fields.get(number, [b""])[-1].decode()
