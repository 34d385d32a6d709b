# Which Python objects hold blocks of pinned memory, and from where. Run by trace/referrers.c in a namespace of its own;
# Python 3.9 and later. What is looked at must not run code of the program: no isinstance(), no attributes by getattr().
import gc
import sys
from struct import pack  # torch has it loaded: nothing new is, at the end of a process
from time import CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID
from time import clock_gettime  # not monotonic(): programs that stop the time for their tests replace it


class Late(Exception):
    pass


def mine(code):
    return code.co_filename == "<pintensor>"


def short(text, most=40):
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= most else text[: most - 3] + "..."


def name_of(thing):
    return f"{thing.__module__}.{thing.__qualname__}"


def key_of(key):
    """A key in words: only of types whose repr() is Python's own."""
    return short(repr(key)) if type(key) in (str, int, bool, float, bytes, type(None)) else type(key).__name__


def sized(thing):
    kind = type(thing).__name__
    try:
        known = type(thing) in (list, tuple, dict, set, frozenset) or kind in ("deque", "OrderedDict", "defaultdict")
        return f"{kind}[{len(thing)}]" if known else kind
    except Exception:
        return kind


class Walk:
    """Everything that is known of the heap. Objects lie in `heap`, `node` and `kept` alone; all else are ids of them."""

    def __init__(self, seconds):
        # What the search has had of a processor. Others may have it, or the GIL, meanwhile, but not for ever.
        self.ends = [(clock, clock_gettime(clock) + most) for clock, most in
                     ((CLOCK_THREAD_CPUTIME_ID, seconds), (CLOCK_MONOTONIC, 2 * seconds))]
        self.late = False  # the way up was not gone to its end
        self.heap = gc.get_objects()
        self.node = {}  # id: object
        self.kept = []  # of frames
        self.index = []  # a few of the heap, and the ids of all that they refer to: looked up once, since that is what takes long
        self.up = {}  # id: ids of those that refer to it
        self.root = {}  # (id of who is held, or of the root): its words
        self.modules = {}
        self.locals = {}

    def check(self):
        for clock, end in self.ends:
            if clock_gettime(clock) > end:
                raise Late

    def parts(self, things):
        """A few at a time: a look at the clock for each."""
        for i in range(0, len(things), 256):
            self.check()
            yield things[i : i + 256]

    def look_at_modules(self):
        for name, module in list(sys.modules.items()):
            if type(module) is type(sys):
                self.modules.setdefault(id(module.__dict__), name)  # __main__ comes before its second name

    def look_at_frames(self):
        for frame in list(sys._current_frames().values()):
            while frame is not None:
                code = frame.f_code
                if code.co_flags & 1 and not mine(code):  # a function's: others have a namespace that somebody holds
                    where = f"{code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {code.co_name}()"
                    names = frame.f_locals
                    for name, value in list(names.items()):
                        self.kept.append(value)
                        self.locals.setdefault(id(value), f"{where} local {name!r}")
                    if type(names) is dict and sys.getrefcount(names) <= 3:
                        names.clear()  # before 3.13 the frame would keep it, and so all that is in it
                    del names
                frame = frame.f_back

    def tensors(self, find):
        """{id: site and bytes of the block} of all tensors on the blocks."""
        torch = sys.modules["torch"]
        found = {}
        tensor = torch.Tensor
        linear = type.__dict__["__mro__"].__get__
        kinds = {kind for kind in set(map(type, self.heap)) if tensor in linear(kind)}
        with torch._C.DisableTorchFunctionSubclass():
            for part in self.parts(self.heap):
                for thing in [x for x in part if type(x) in kinds]:
                    try:
                        at = tensor.data_ptr(thing) if tensor.is_cpu.__get__(thing) else 0
                    except Exception:
                        continue
                    block = find(at)
                    if block is not None:
                        found[id(thing)] = block
                        self.node[id(thing)] = thing
        return found

    def look_at_heap(self):
        for part in self.parts(self.heap):
            ids = list(map(id, gc.get_referents(*part)))
            self.index.append((part, memoryview(pack(f"{len(ids)}Q", *ids)).cast("Q")))

    def referrers(self, frontier):
        """Adds those who refer to what is in the frontier; returns the new ones."""
        new = set()
        if not self.index:
            self.look_at_heap()
        for part, referents in self.index:
            self.check()
            if frontier.isdisjoint(referents):
                continue
            for thing in part:
                held = frontier.intersection(map(id, gc.get_referents(thing)))
                if held and thing is not self.heap and not self.is_own(thing):
                    if id(thing) not in self.node:
                        self.node[id(thing)] = thing
                        new.add(id(thing))
                    for child in held:
                        above = self.up.setdefault(child, [])
                        if len(above) < 8:
                            above.append(id(thing))
        return new

    @staticmethod
    def is_own(thing):
        kind = type(thing)
        return kind is Walk or (kind.__name__ == "frame" and mine(thing.f_code)) or (
            kind.__name__ == "generator" and mine(thing.gi_code)
        )

    def name_root(self, number):
        """The words of it, if the search ends with it."""
        thing = self.node[number]
        kind = type(thing)
        if number in self.modules:
            return self.modules[number]
        if number in self.locals:
            return self.locals[number]
        if issubclass(kind, type):
            return name_of(thing)
        if kind is type(short):
            return f"{name_of(thing)}()"
        if kind.__name__ == "_lru_cache_wrapper":
            return f"{name_of(thing)}() lru_cache"
        if kind.__name__ in ("generator", "coroutine", "async_generator"):
            return f"{kind.__name__} {thing.__qualname__}()"
        return None

    def climb(self, start, levels=10):
        """From what is held up to roots, a level at a time, until each has one, or for as long as there is time."""
        frontier, left = set(start), set(start)
        for _ in range(levels):
            for number in frontier:
                words = self.name_root(number)
                if words is not None:
                    self.root[number] = words
            frontier -= set(self.root)
            if not (left - set(self.ways())) or not frontier:
                break
            try:
                frontier = self.referrers(frontier)
            except Late:
                self.late = True
                break
        return self.ways()

    def ways(self):
        """{id: id of the one above it, on its shortest way from a root}."""
        down = {}
        for child, above in self.up.items():
            for number in above:
                down.setdefault(number, []).append(child)
        via = {number: None for number in self.root}
        level = list(via)
        while level:
            below = []
            for number in level:
                for child in down.get(number, ()):
                    if child not in via:
                        via[child] = number
                        below.append(child)
            level = below
        return via

    def step(self, number, child):
        """How the one holds the other: in full, without saying where in it, and the kind alone."""
        thing, kind = self.node[number], type(self.node[number])
        if issubclass(kind, dict):
            target = self.node[child]
            for key, value in list(dict.items(thing)):
                if value is target:
                    return (f"{kind.__name__}[{key_of(key)}]", sized(thing), kind.__name__, key)
        return (sized(thing), sized(thing), kind.__name__, None)

    def chain(self, number, via):
        """The way down to it, a step each, the root first."""
        path = [number]
        while via.get(path[-1]) is not None:
            path.append(via[path[-1]])
        path.reverse()
        steps, i = [], 0
        top = path[0]
        words = self.root.get(top)
        if words is None:  # nobody named holds it
            words = type(self.node[top]).__name__
        elif top in self.modules and len(path) > 1:
            key = self.step(top, path[1])[3]
            words = f"{words}.{short(key)}" if type(key) is str else words
        elif issubclass(type(self.node[top]), type) and len(path) > 2:
            key = self.step(path[1], path[2])[3]
            words = f"{words}.{short(key)}" if type(key) is str else words
            i = 1
        elif type(self.node[top]) is type(short) and len(path) > 2:
            words, i = self.closure(words, path)
        steps.append((words, words, words))
        if top in self.locals and top not in self.modules and top != number:
            steps.append(self.step(top, path[1])[:3])
        i += 1
        while i < len(path) - 1:
            full = self.step(path[i], path[i + 1])
            after = self.step(path[i + 1], path[i + 2]) if i + 2 < len(path) else None
            plain = type(self.node[path[i]]).__name__
            # Of an object without a dict of attributes, since 3.11, a dict that it refers to is one of them.
            has_attributes = not self.is_container(path[i])
            name = self.attribute(path[i], path[i + 1]) if has_attributes else None
            if has_attributes and not name and after and type(self.node[path[i + 1]]) is dict and type(after[3]) is str:
                steps.append((f"{plain}.{short(after[3])}", plain, plain))  # by its __dict__
                i += 2
                continue
            steps.append((f"{plain}.{name}", f"{plain}.{name}", plain) if name else full[:3])
            i += 1
        kind = type(self.node[number]).__name__
        steps.append((kind, kind, kind))
        return steps

    def is_container(self, number):
        return type(self.node[number]) in (list, tuple, dict, set, frozenset)

    def attribute(self, number, child):
        """Since 3.11 an object may have its attributes without a dict: this one makes none where it can be helped."""
        thing, target = self.node[number], self.node[child]
        if type(thing).__dictoffset__ == 0 or type(thing).__name__ in ("cell", "function"):
            return None
        try:
            for key, value in list(object.__getattribute__(thing, "__dict__").items()):
                if value is target:
                    return short(key)
        except Exception:
            pass
        return None

    def closure(self, words, path):
        cells = self.node[path[0]].__closure__
        if cells is not None and path[1] == id(cells):
            for name, cell in zip(self.node[path[0]].__code__.co_freevars, cells):
                if id(cell) == path[2]:
                    return f"{words} closure {name!r}", 2
        return words, 0


def merge(a, b):
    """Two ways that differ in places at most: the most that can be said of both."""
    out = []
    for x, y in zip(a, b):
        if x[0] == y[0]:
            out.append(x)
        elif x[1] == y[1]:
            out.append((x[1], x[1], x[2]))
        else:
            out.append((x[2], x[2], x[2]))
    return out


def finder(blocks):
    from bisect import bisect_right

    rows = sorted(zip(blocks[0::3], blocks[1::3], blocks[2::3]))
    starts = [row[0] for row in rows]

    def find(at):
        i = bisect_right(starts, at) - 1
        return rows[i] if i >= 0 and at < rows[i][1] else None

    return rows, find


MOST_BYTES = 239  # of a way's words: what the table has room for, and a line on a terminal


def join(steps):
    """The words of a way; of a long one both ends, which say most."""
    words = [step[0] for step in steps]
    first, last = words, []
    while len(" -> ".join(first + last).encode(errors="replace")) > MOST_BYTES and len(words) > 2:
        del words[len(words) // 2]
        middle = (len(words) + 1) // 2
        first, last = words[:middle] + ["..."], words[middle:]
    return " -> ".join(first + last)


CXX = "C++ (autograd or another library): no tensor of Python's is on it"


def tell(rows, found, walk, via):
    """(site, words) : ways and blocks."""
    groups, seen = {}, set()
    for number, block in found.items():
        if block in seen:
            continue
        steps = walk.chain(number, via) if number in via else None
        if steps is None and not walk.late and walk.up.get(number):  # somebody has it, of whom no name is known
            top, below = walk.up[number][0], number
            steps = [walk.step(top, below)[:3], (type(walk.node[number]).__name__,) * 3]
        seen.add(block)
        key = (block[2], tuple(s[2] for s in steps) if steps else None)
        old = groups.get(key)
        groups[key] = (
            merge(old[0], steps) if old and steps else steps,
            (old[1] if old else 0) + 1,
            (old[2] if old else 0) + block[1] - block[0],
        )
    for block in rows:
        if block not in seen:
            key = (block[2], None)
            old = groups.get(key, (None, 0, 0))
            groups[key] = (None, old[1] + 1, old[2] + block[1] - block[0])
    return groups


def find(raw, seconds):
    """A line for each way: the site, blocks, bytes and the words, those with the most bytes first. Of what there was no time for, one."""
    if not hasattr(sys.modules.get("torch"), "Tensor"):
        return ""
    collecting = gc.isenabled()
    gc.disable()
    walk, found = None, {}
    late = f"what was not found within {seconds} s"
    try:
        rows, look = finder(memoryview(raw).cast("Q").tolist())
        walk = Walk(seconds)
        try:
            walk.look_at_modules()
            found = walk.tensors(look)
            walk.look_at_frames()
        except Late:
            walk.late, found = True, {}
        groups = tell(rows, found, walk, walk.climb(found) if found else {})
        told, missing = [], []
        for (site, _), (steps, blocks, bytes_) in groups.items():
            words = join(steps) if steps else late if walk.late else CXX
            (told if steps or not walk.late else missing).append((bytes_, f"{site}\t{blocks}\t{bytes_}\t{words}"))
        return "\n".join(line for _, line in sorted(told + sorted(missing)[-1:], key=lambda line: -line[0]))
    finally:
        if walk is not None:
            walk.__dict__.clear()
        if collecting:
            gc.enable()
