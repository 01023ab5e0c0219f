"""Reads the quantised coefficients of a baseline JPEG file, to compare ours with them.

Written after ITU-T T.81 alone: nothing here comes from `compression`.
"""

import dataclasses

import numpy as np

_SOF0, _SOF1, _SOF2, _DHT, _SOS, _DRI = 0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDD


@dataclasses.dataclass(frozen=True)
class Component:
    """What a frame header says of a component, and a scan header of its codes."""

    vertical: int
    horizontal: int
    dc: int
    ac: int


@dataclasses.dataclass(frozen=True)
class Scan:
    """Attributes:
    levels: of each component, int16 `[rows, columns, 8, 8]`, whole MCUs.
    bits: without stuffed bytes and without what fills the last byte.
    codes: DHT segments by their first byte: 0, 1 for DC and 16, 17 for AC codes.
    """

    levels: tuple[np.ndarray, ...]
    bits: int
    codes: dict[int, bytes]


def read(content):
    """Decodes a file of one interleaved scan without restarts."""
    frame, codes, selectors, _ = _segments(content)
    data = entropy_coded(content)
    height, width, components = _components(frame, selectors)
    shapes, order = _layout(height, width, components)
    lookups = {name: _lookup(segment) for name, segment in codes.items()}
    blocks, bits = _decode(
        data,
        [(lookups[component.dc], lookups[component.ac]) for component in components],
        order,
        [rows * columns for rows, columns in shapes],
    )
    # The last byte is filled with ones: F.1.2.3.
    rest = 8 * len(data) - bits
    assert 0 <= rest < 8
    assert data[-1] & ((1 << rest) - 1) == (1 << rest) - 1
    levels = tuple(
        np.array(values, np.int16).reshape(*shape, 8, 8)
        for values, shape in zip(blocks, shapes, strict=True)
    )
    return Scan(levels, bits, codes)


def entropy_coded(content):
    """Returns the bytes between headers and end, stuffed ones left out."""
    start, end = _segments(content)[3], content.rindex(b"\xff\xd9")
    return content[start:end].replace(b"\xff\x00", b"\xff")


def _segments(content):
    assert content[:2] == b"\xff\xd8"
    place, frame, codes = 2, b"", {}
    while True:
        assert content[place] == 0xFF
        marker, length = content[place + 1], int.from_bytes(content[place + 2 :][:2])
        body = content[place + 4 : place + 2 + length]
        place += 2 + length
        if marker in (_SOF0, _SOF1):
            frame = body
        elif marker == _DHT:
            while body:
                length = 17 + sum(body[1:17])
                codes[body[0]], body = body[1:length], body[length:]
        elif marker == _SOS:
            return frame, codes, body, place
        else:
            assert marker not in (_SOF2, _DRI), "progressive, or with restarts"


def _components(frame, selectors):
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    of_scan = {
        selectors[i]: selectors[i + 1] for i in range(1, 1 + 2 * selectors[0], 2)
    }
    components = []
    for i in range(6, 6 + 3 * frame[5], 3):
        name, factors = frame[i], frame[i + 1]
        dc, ac = of_scan[name] >> 4, of_scan[name] & 15
        components.append(Component(factors & 15, factors >> 4, dc, 16 + ac))
    if len(components) == 1:  # blocks are not grouped then: A.2.2
        components = [dataclasses.replace(components[0], vertical=1, horizontal=1)]
    return height, width, components


def _layout(height, width, components):
    """Returns blocks `[rows, columns]` per component, and the order in the scan."""
    vertical = max(c.vertical for c in components)
    horizontal = max(c.horizontal for c in components)
    down, across = -(-height // (8 * vertical)), -(-width // (8 * horizontal))
    shapes = [(down * c.vertical, across * c.horizontal) for c in components]
    order = [
        (index, (row * c.vertical + i) * shapes[index][1] + column * c.horizontal + j)
        for row in range(down)
        for column in range(across)
        for index, c in enumerate(components)
        for i in range(c.vertical)
        for j in range(c.horizontal)
    ]
    return shapes, order


def _lookup(segment):
    """Returns `length << 8 | symbol` for every 16 bits that begin with a code."""
    entries, symbols = [], iter(segment[16:])
    for length, count in enumerate(segment[:16], 1):
        for _ in range(count):
            entries += [length << 8 | next(symbols)] * (1 << (16 - length))
    return entries + [0] * (65536 - len(entries))


def zigzag():
    """Returns the natural index of each place, walking the diagonals of figure 5."""
    places, row, column = [], 0, 0
    for _ in range(64):
        places.append(8 * row + column)
        if (row + column) % 2 == 0:  # to the upper right
            if column == 7:
                row += 1
            elif row == 0:
                column += 1
            else:
                row, column = row - 1, column + 1
        elif row == 7:
            column += 1
        elif column == 0:
            row += 1
        else:
            row, column = row + 1, column - 1
    return places


def _decode(data, lookups, order, counts):
    """Returns the coefficients of each component's blocks, and the bits they took."""
    # From each byte on, 40 bits: a code and a value have 27, and may begin 7 later.
    padded = np.frombuffer(data + bytes(8), np.uint8).astype(np.int64)
    windows = sum(padded[i : len(data) + i + 1] << (32 - 8 * i) for i in range(5))
    windows, natural, place = windows.tolist(), zigzag(), 0
    blocks = [[[0] * 64 for _ in range(count)] for count in counts]
    before = [0] * len(counts)
    for component, block in order:
        values, (dc, ac) = blocks[component][block], lookups[component]
        k = 0
        while k < 64:
            window, offset = windows[place >> 3], place & 7
            entry = (ac if k else dc)[window >> (24 - offset) & 0xFFFF]
            length, run, size = entry >> 8, entry >> 4 & 15, entry & 15
            assert length, "no such code"
            place += length + size
            bits = window >> (40 - offset - length - size) & ((1 << size) - 1)
            # The lower half stands for the negative values.
            value = bits if bits >= 1 << size >> 1 else bits - (1 << size) + 1
            if k == 0:
                before[component] += value
                values[0], k = before[component], 1
            elif size:
                values[natural[k + run]], k = value, k + run + 1
            else:  # sixteen zeros, or the end of the block
                k = k + 16 if run == 15 else 64
    return blocks, place
