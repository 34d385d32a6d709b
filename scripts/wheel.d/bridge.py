#!/usr/bin/env python3
"""What a bridge that is built beforehand has to agree upon with the preload that loads it.

usage: bridge.py text DIR OUT    writes the bridge's text as the preload carries it; prints the hash of it, for its name
       bridge.py seal FILE       ends the file with its checksum, as cache_file_seal() does
"""
import pathlib
import struct
import sys

BASIS, WORD = 0xCBF29CE484222325, 0xFFFFFFFFFFFFFFFF
FILES = ["bridge.h", "host_stats.h", "old_torch.h", "host_allocator.cpp"]  # in library.c's order


def fnv(data):
    """cache_file_hash()."""
    value = BASIS
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def checksum(data):
    """sum() of cache_file.c."""
    data += bytes(-len(data) % 16384)
    rows = [BASIS, BASIS + 1, BASIS + 2, BASIS + 3]
    for i, (word, ) in enumerate(struct.iter_unpack("<Q", data)):
        row = rows[i % 4]
        rows[i % 4] = (row ^ word ^ row >> 32) * 0x9E3779B97F4A7C15 & WORD
    return fnv(struct.pack("<4Q", *rows))


def main():
    if sys.argv[1] == "text":
        text = b"".join(b'#line 1 "%s"\n' % name.encode() + (pathlib.Path(sys.argv[2]) / name).read_bytes() for name in FILES)
        pathlib.Path(sys.argv[3]).write_bytes(text)
        print(f"{fnv(text):x}")
    else:
        file = pathlib.Path(sys.argv[2])
        data = file.read_bytes()
        file.write_bytes(data + struct.pack("=8sQQ", b"pintensr", len(data), checksum(data)))


main()
