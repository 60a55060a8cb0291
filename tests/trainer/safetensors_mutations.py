"""Safetensors files, valid ones and mutated ones, for safetensors_fuzz.py.

safetensors_mutations.py DIR   writes the valid files that the fuzz target (tests/fuzz) starts from
"""
import copy
import pathlib
import random
import struct
import sys

BITS = {"BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64, "U64": 64, "F16": 16,
        "BF16": 16, "F32": 32, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
        "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
NAMES = ["a", "model.layers.0.mlp.gate.weight", "", "ß漢😀", r"\u00e4", r"\"quoted\"", r"\u0000", r"\ud83d\ude00",
         "x" * 300]


class Object(list):
    """Pairs [name, node] as they are written; a name may stand there twice."""


class Array(list):
    """Nodes. A node is an Object, an Array, or JSON text, which need not be right."""


# Valid files.

def quoted(text):
    return f'"{text}"'


def tensor_entry(dtype, shape, begin, end, choose):
    pairs = Object([['"dtype"', quoted(dtype)], ['"shape"', Array(map(str, shape))],
                    ['"data_offsets"', Array([str(begin), str(end)])]])
    choose.shuffle(pairs)
    return pairs


def random_tensors(choose):
    """An entry per name, and the bytes of data they cover."""
    entries, offset = Object(), 0
    for name in choose.sample(NAMES, choose.choice((0, 1, 1, 2, 3, 5))):
        dtype = choose.choice(list(BITS))
        shape = [choose.randrange(4) for _ in range(choose.randrange(4))]
        if BITS[dtype] < 8:
            shape.append(4)
        bits = BITS[dtype]
        for size in shape:
            bits *= size
        entries.append([quoted(name), tensor_entry(dtype, shape, offset, offset + bits // 8, choose)])
        offset += bits // 8
    return entries, offset


def random_file(choose):
    root, data_bytes = random_tensors(choose)
    if choose.random() < 0.5:
        pairs = [['"format"', '"pt"'], ['"ä"', r'"\u0041"']]
        root.append(['"__metadata__"', Object(pairs[:choose.randrange(3)])])
    choose.shuffle(root)
    return root, choose.randbytes(data_bytes)


def text_of(node, space):
    if isinstance(node, Object):
        return "{" + ",".join(f"{space()}{name}{space()}:{text_of(value, space)}" for name, value in node) + "}"
    if isinstance(node, Array):
        return "[" + ",".join(space() + text_of(value, space) for value in node) + space() + "]"
    return node + space()


def image_of(header, data):
    return struct.pack("<Q", len(header)) + header + data


# Mutations of the tree: each changes `root` in place and may return other data.

def walk(node, parent=None, key=None):
    """Every node with the list and the index that hold it."""
    yield node, parent, key
    if isinstance(node, Object):
        for pair in node:
            yield from walk(pair[1], pair, 1)
    elif isinstance(node, Array):
        for index, value in enumerate(node):
            yield from walk(value, node, index)


def pick(root, choose, wanted):
    """A place (list, index) whose node is wanted; None if there is none."""
    places = [(parent, key) for node, parent, key in walk(root) if parent is not None and wanted(node)]
    return choose.choice(places) if places else None


def tensor_entries(root):
    return [value for name, value in root if isinstance(value, Object) and name != '"__metadata__"']


def member(root, choose, name):
    """The pair `name` of some tensor, or None."""
    pairs = [pair for entry in tensor_entries(root) for pair in entry if pair[0] == quoted(name)]
    return choose.choice(pairs) if pairs else None


NUMBERS = ["0", "1", "-1", "-0", "1.0", "0.0", "1e3", "1E0", "1e-1", "2e0", "01", "+1", "0x1", ".5", "1.", "1e",
           "1e400", "255", "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551615",
           "18446744073709551616", "1" + "0" * 400, "NaN", "Infinity", "null", "true", '"1"', "[1]", "{}", ""]


def change_number(root, choose, data):
    place = pick(root, choose, lambda node: isinstance(node, str) and node.isdigit())
    if place:
        parent, key = place
        forms = [choose.choice(NUMBERS), parent[key] + choose.choice((".0", "e0", "E+0", ".", "0")),
                 str(int(parent[key]) + choose.choice((-1, 1, 4, 8)))]
        parent[key] = choose.choice(forms)


def change_offsets(root, choose, data):
    pair = member(root, choose, "data_offsets")
    if not pair or not isinstance(pair[1], Array) or len(pair[1]) < 2:
        return
    offsets = pair[1]
    kind = choose.randrange(6)
    if kind == 0:
        offsets.reverse()
    elif kind == 1:
        offsets.append(choose.choice(offsets))
    elif kind == 2:
        offsets.pop()
    elif kind == 3:
        offsets[0] = offsets[1]
    elif kind == 4:
        offsets[1] = offsets[0]
    else:
        pair[1] = copy.deepcopy(member(root, choose, "data_offsets")[1])


def change_shape(root, choose, data):
    pair = member(root, choose, "shape")
    if not pair or not isinstance(pair[1], Array):
        return
    shape = pair[1]
    kind = choose.randrange(5)
    if kind == 0:
        shape.insert(choose.randrange(len(shape) + 1), choose.choice(("0", "1", "1", "2")))
    elif kind == 1 and shape:
        shape.pop(choose.randrange(len(shape)))
    elif kind == 2:
        sizes = [2**32, 2**60, 2**63 - 1, 2**63, 2**64 - 1, 0, 0, 1, 2]
        shape[:] = [str(choose.choice(sizes)) for _ in range(choose.randrange(1, 4))]
    elif kind == 3:
        choose.shuffle(shape)
    else:
        pair[1] = choose.choice(("null", "2", "{}", '"2"', "[]", Array(["0", choose.choice(NUMBERS)])))


def change_dtype(root, choose, data):
    pair = member(root, choose, "dtype")
    if pair:
        known = quoted(choose.choice(list(BITS)))
        pair[1] = choose.choice((known, known, known.lower(), Object([[known, "null"]]), Object([[known, "1"]]),
                                 Object(), Array([known]), "null", "8", '"F31"', '"F16 "', r'"\u0046\u0033\u0032"'))


def zero_sized(root, choose, data):
    """One more tensor, without data: at a place between two others, or elsewhere."""
    end = str(choose.choice((0, len(data), choose.randrange(len(data) + 1))))
    shape = choose.choice((["0"], ["2", "0"], ["0", choose.choice(NUMBERS)]))
    root.append(['"zero"', tensor_entry(choose.choice(list(BITS)), shape, end, end, choose)])


def one_buffer(root, choose, data):
    """Two names for the same bytes."""
    if tensor_entries(root):
        root.append(['"again"', copy.deepcopy(choose.choice(tensor_entries(root)))])


def objects(root):
    return [node for node, _, _ in walk(root) if isinstance(node, Object) and node]


def duplicate(root, choose, data):
    places = objects(root)
    if places:
        place = choose.choice(places)
        name, value = choose.choice(place)
        other = choose.choice((value, value, "1", "null", '"F32"', choose.choice(place)[1]))
        place.insert(choose.randrange(len(place) + 1), [name, copy.deepcopy(other)])


def escaped(name):
    """The same name with its letters spelt as numbers."""
    return "".join(f"\\u{ord(c):04x}" if c.isalpha() and ord(c) < 65536 else c for c in name)


def rename(root, choose, data):
    places = objects(root)
    if places:
        pair = choose.choice(choose.choice(places))
        name = pair[0]
        pair[0] = choose.choice((escaped(name), '"dtype"', '"other"', '"__metadata__"', name.upper(), "name", "1",
                                 "null", '""'))


def drop(root, choose, data):
    places = objects(root)
    if places:
        place = choose.choice(places)
        place.pop(choose.randrange(len(place)))


STRINGS = [r'"\ud83d"', r'"\udc00"', r'"\ud83d\u0041"', r'"\ud83d\ude00"', r'"\uD83D\uDE00"', r'"\u00zz"', r'"\u12"',
           r'"\x41"', r'"\/\b\f\n\r\t"', r'"\u0000"', '"\0"', '"\n"', '"\t"', '"\x7f"', '"\udcff"', '"\udcc0\udc80"',
           '"\udced\udca0\udc80"', '"\udcf4\udc90\udc80\udc80"', '"\udce2\udc82"', '"\uffff"', '"\U0010ffff"', "'a'",
           '"open']


def change_string(root, choose, data):
    if choose.random() < 0.3:
        root.append([choose.choice(STRINGS), tensor_entry("U8", [0], 0, 0, choose)])
    elif choose.random() < 0.5 and objects(root):
        choose.choice(choose.choice(objects(root)))[0] = choose.choice(STRINGS)
    else:
        place = pick(root, choose, lambda node: isinstance(node, str) and node.startswith('"'))
        if place:
            place[0][place[1]] = choose.choice(STRINGS)


def nested(choose):
    depth = choose.choice((1, 3, 20, 100, 120, 123, 124, 125, 126, 127, 128, 129, 500, 20000))
    if choose.random() < 0.5:
        return "[" * depth + "]" * depth
    return '{"k":' * depth + "1" + "}" * depth


def unknown_key(root, choose, data):
    values = NUMBERS + STRINGS + [nested(choose)] * 20 + [Object([['"k"', "1"], ['"k"', "2"]])]
    choose.choice([root, *objects(root)]).append([choose.choice(('"note"', '"x"', '"Dtype"')), choose.choice(values)])


def change_metadata(root, choose, data):
    values = ["null", "3", '"k"', "[]", "true", Object(), Object([['"k"', "1"]]), Object([['"k"', "null"]]),
              Object([['"k"', Object()]]), Object([['"k"', Array(['"v"'])]]), Object([['"k"', '"v"']]),
              Object([['"k"', '"v"'], ['"k"', '"w"']]), tensor_entry("U8", [0], 0, 0, choose)]
    if choose.random() < 0.8:
        root[:] = [pair for pair in root if pair[0] != '"__metadata__"']
    root.insert(choose.randrange(len(root) + 1), ['"__metadata__"', choose.choice(values)])


def entry_as_list(root, choose, data):
    pairs = [pair for pair in root if isinstance(pair[1], Object) and pair[0] != '"__metadata__"']
    if pairs:
        pair = choose.choice(pairs)
        members = dict(pair[1])
        order = ['"dtype"', '"shape"', '"data_offsets"']
        if choose.random() < 0.2:
            choose.shuffle(order)
        pair[1] = Array(members.get(name, "null") for name in order)


def swap(root, choose, data):
    """A node in place of another."""
    source, target = (pick(root, choose, lambda node: True) for _ in range(2))
    if source:
        target[0][target[1]] = copy.deepcopy(source[0][source[1]])


def change_data(root, choose, data):
    return data[:choose.randrange(len(data) + 1)] if choose.random() < 0.5 else data + bytes(choose.choice((1, 4, 8)))


TREE = [change_number, change_number, change_offsets, change_offsets, change_shape, change_shape, change_dtype,
        zero_sized, one_buffer, duplicate, rename, drop, change_string, unknown_key, change_metadata, entry_as_list,
        swap, change_data]


# Mutations of the text of the header and of the whole image.

AROUND = [(b" ", b" "), (b" \t\r\n", b""), (b"", b"\n" * 50), (b"\0", b""), (b"", b"\0"), (b"", b"\0x"),
          (b"\xef\xbb\xbf", b""), (b"", b"{}"), (b"[", b"]"), (b"\f", b""), (b"", b"\xc2\xa0"), (b"/**/", b""),
          (b"", b"//"), (b"", b","), (b"(", b")"), (b'"', b'"')]


def around(header, choose):
    left, right = choose.choice(AROUND)
    return left + header + right


def damage_bytes(text, choose):
    bad = bytearray(text)
    for _ in range(choose.choice((1, 1, 1, 2, 3))):
        place = choose.randrange(len(bad) + 1)
        kind = choose.randrange(5)
        if kind == 0 and place < len(bad):
            bad[place] ^= 1 << choose.randrange(8)
        elif kind == 1 and place < len(bad):
            bad[place] = choose.choice(b'0123456789 ,:"{}[]\\-+.eEnut')
        elif kind == 2:
            bad.insert(place, choose.choice(b'0123456789 ,:"{}[]\\-+.eE\0\xff'))
        elif kind == 3:
            del bad[place:place + choose.choice((1, 1, 2, 8))]
        else:
            bad[place:place] = bad[place:place + choose.randrange(1, 20)]
    return bytes(bad)


def change_length(image, choose):
    length = struct.unpack("<Q", image[:8])[0]
    other = choose.choice((length + 1, max(length - 1, 0), length + 8, 0, 100_000_000, 100_000_001, 2**63, 2**64 - 8,
                           2**64 - 1))
    return struct.pack("<Q", other) + image[8:]


def truncate(image, choose):
    return image[:choose.choice((choose.randrange(9), choose.randrange(len(image) + 1)))]


def spaces(choose):
    if choose.random() < 0.8:
        return lambda: ""
    return lambda: choose.choice(("", "", " ", "\n", "\t", "\r"))


def random_image(choose):
    """An image and the names of what was done to it."""
    root, data = random_file(choose)
    done = []
    for _ in range(choose.choice((0, 1, 1, 1, 1, 2, 2, 3))):
        mutation = choose.choice(TREE)
        changed = mutation(root, choose, data)
        data = data if changed is None else changed
        done.append(mutation.__name__)
    header = text_of(root, spaces(choose)).encode("utf-8", "surrogateescape")
    for mutation, share in ((around, 0.05), (damage_bytes, 0.15)):
        if choose.random() < share:
            header = mutation(header, choose)
            done.append(mutation.__name__)
    image = image_of(header, data)
    for mutation, share in ((damage_bytes, 0.03), (change_length, 0.03), (truncate, 0.03)):
        if choose.random() < share:
            image = mutation(image, choose)
            done.append(mutation.__name__)
    return image, done or ["none"]


def write_corpus(directory):
    choose = random.Random(1)
    for number in range(12):
        root, data = random_file(choose)
        header = text_of(root, spaces(choose)).encode()
        (pathlib.Path(directory) / f"{number:02}.safetensors").write_bytes(image_of(header, data))


if __name__ == "__main__":
    write_corpus(sys.argv[1])
