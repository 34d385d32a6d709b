"""Loads a module of C++ as Python does, after torch, and runs what it tests. argv: the module."""
import ctypes
import sys

import torch  # noqa: F401

sys.exit(ctypes.CDLL(sys.argv[1]).test_all())
