"""What src/frames.c makes of this interpreter: frames.py PROBE, which is tests/programs/frames.c."""
import ctypes
import sys

UNKNOWN, ON_TRIAL, PROVEN, OFF = range(4)
free, held = ctypes.CDLL(sys.argv[1]), ctypes.PyDLL(sys.argv[1])
for probe in free, held:
    probe.probe_key.restype = ctypes.c_uint64
    probe.probe_cost.restype = ctypes.c_double
failed = False


def check(name, condition):
    global failed
    failed |= not condition
    print("ok -" if condition else "not ok -", name)


def deep(depth, call):
    return call() if depth <= 1 else deep(depth - 1, call)


def through_c(call):
    return max([0], key=lambda _: call()) or [k for k in map(lambda _: call(), [0])][0]


def keys():
    """(stack, key) of different stacks, some in a loop."""
    found = []
    for depth in 1, 2, 3, 20, 40:
        for _ in range(30):
            found.append((("deep", depth), deep(depth, free.probe_key)))
            found.append((("deep, held", depth), deep(depth, held.probe_key)))
    for _ in range(30):
        found.append(("line 1", free.probe_key()))
        found.append(("line 2", free.probe_key()))
        found.append(("through C", through_c(free.probe_key)))
        found.append(("call 1", free.probe_key())); found.append(("call 2", free.probe_key()))
    return found


free.probe_init()
check("nothing is believed at first", free.probe_state() == UNKNOWN and free.probe_key() == 0)
for _ in range(2):
    held.probe_learn()
check("one line alone proves nothing" if sys.version_info < (3, 12) else "a stack is believed",
      free.probe_state() in (ON_TRIAL, PROVEN))
deep(3, held.probe_learn)
check("two lines do", free.probe_state() == PROVEN)
seen = {}
wrong = 0
for stack, key in keys():
    wrong += seen.setdefault(stack, key) != key
check("equal stacks have equal keys", wrong == 0 and 0 not in seen.values())
check("different stacks have different keys", len(set(seen.values())) == len(seen))
for depth in 1, 2, 47, 48, 49, 200:
    deep(depth, held.probe_learn)
    through_c(held.probe_learn)
check("every later look agrees", free.probe_state() == PROVEN)
print("# ns a key, by depth:", {d: round(min(deep(d, free.probe_cost) for _ in range(5))) for d in (1, 3, 10, 30, 48)})
sys.exit(failed)
