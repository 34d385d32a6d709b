"""DeepSpeed's compiled ops, without DeepSpeed: a handle that makes pinned tensors, by the directory they were built in.

handle(DIRECTORY): from 0.19.5 the pin_memory op's, before that async_io's."""
import importlib.util
import os
import sys

import torch  # the ops are linked against it



def load(directory, name):
    spec = importlib.util.spec_from_file_location(name, f"{directory}/{name}/{name}.so")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_new(directory):
    return os.path.exists(f"{directory}/pin_memory/pin_memory.so")


def handle(directory):
    if is_new(directory):
        return load(directory, "pin_memory").pin_handle()
    return load(directory, "async_io").aio_handle(1 << 20, 8, False, False, 1)


def aio_handle(directory):
    """async_io's. From 0.19.5 it finds the manager through the dynamic linker, as DeepSpeed's own loader arranges."""
    if is_new(directory):
        flags = sys.getdlopenflags()
        sys.setdlopenflags(flags | os.RTLD_GLOBAL)
        load(directory, "pin_memory")
        sys.setdlopenflags(flags)
    return load(directory, "async_io").aio_handle(1 << 20, 8, False, True, 1)


def preloaded():
    return "libpintensor_preload" in os.environ.get("LD_PRELOAD", "")
