"""A block that a sub-interpreter pins first; it ends, and the program goes on."""
import sys

import pin
import _testcapi

_testcapi.run_in_subinterp("import sys; sys.path[:] = %r; import pin; pin.pin(1 << 20)" % (sys.path,))
later = pin.pin(2 << 20)
pin.lib.pintensor_report(1)
sys.modules["kept"] = later
