#!/usr/bin/env python3
"""Packs a directory as a wheel: adds what pip wants to know, and zips it, always the same bytes for the same files.

usage: pack.py DIR VERSION TAG SOURCES OUT
"""
import base64
import hashlib
import pathlib
import sys
import zipfile

METADATA = """\
Metadata-Version: 2.1
Name: pintensor
Version: {version}
Summary: Exact, reused, page-locked memory for DeepSpeed's and torch's pinned tensors, with a leak report
License: Apache-2.0
Requires-Python: >=3.9
Classifier: Operating System :: POSIX :: Linux
Classifier: Framework :: Pytest
Description-Content-Type: text/markdown

{readme}"""
WHEEL = "Wheel-Version: 1.0\nGenerator: pintensor\nRoot-Is-Purelib: false\nTag: {tag}\n"
ENTRY_POINTS = "[console_scripts]\npintensor = pintensor.__main__:main\n\n[pytest11]\npintensor = pintensor.pytest_plugin\n"


def digest(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def main():
    root, version, tag, sources, out = sys.argv[1:]
    root, sources = pathlib.Path(root), pathlib.Path(sources)
    info = root / f"pintensor-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA.format(version=version, readme=(sources / "README.md").read_text()))
    (info / "WHEEL").write_text(WHEEL.format(tag=tag))
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (info / "LICENSE").write_bytes((sources / "LICENSE").read_bytes())
    record = ""
    wheel = pathlib.Path(out) / f"pintensor-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name, data, mode):
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)

        for file in sorted(file for file in root.rglob("*") if file.is_file()):
            name, data = file.relative_to(root).as_posix(), file.read_bytes()
            record += f"{name},{digest(data)},{len(data)}\n"
            add(name, data, 0o100755 if file.stat().st_mode & 0o100 else 0o100644)
        name = f"{info.name}/RECORD"
        add(name, record + f"{name},,\n", 0o100644)
    print(wheel)


main()
