"""Dictionaries made up for tests, packed as Debian's dict-gcide is."""

import base64
import gzip


def dictd_number(number):
    digits = base64.b64encode(number.to_bytes(6, "big")).decode().lstrip("A")
    return digits or "A"


def write_dictionary(folder, texts):
    """A package like dict-gcide."""
    content, index = b"", ""
    for text in texts:
        index += f"{text.split()[0]}\t{dictd_number(len(content))}\t{dictd_number(len(text.encode()))}\n"
        content += text.encode()
    (folder / "gcide.index").write_text(index)
    (folder / "gcide.dict.dz").write_bytes(gzip.compress(content))
