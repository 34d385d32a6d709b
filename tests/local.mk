# The tests. Suites link the core itself, so that they reach what the libraries hide; scripts run the real preload.
check_suites = \
	tests/check_text \
	tests/check_wait \
	tests/check_write \
	tests/check_options \
	tests/check_libraries \
	tests/check_elf \
	tests/check_segments \
	tests/check_arena \
	tests/check_free_cache \
	tests/check_table \
	tests/check_counters \
	tests/check_foreign \
	tests/check_table_load \
	tests/check_history \
	tests/check_growth \
	tests/check_sites \
	tests/check_python \
	tests/check_frames \
	tests/check_doctor \
	tests/check_summary \
	tests/check_remote \
	tests/check_report \
	tests/check_screen \
	tests/check_lines \
	tests/check_top \
	tests/check_native_lines \
	tests/check_table_bounds \
	tests/check_doctor_job \
	tests/check_destination \
	tests/check_program \
	tests/check_table_memory \
	tests/check_verdict \
	tests/check_block \
	tests/check_many \
	tests/check_api \
	tests/check_dlpack \
	tests/check_tensor \
	tests/check_fork \
	tests/check_gate \
	tests/check_signals \
	tests/check_shutdown \
	tests/check_driver \
	tests/check_cuda \
	tests/check_background \
	tests/check_in_flight \
	tests/check_device_block \
	tests/check_stream_use \
	tests/check_magazine \
	tests/check_fake \
	tests/check_starts \
	tests/check_locks \
	tests/check_budget \
	tests/check_limit \
	tests/check_node_share \
	tests/check_attributes \
	tests/check_pages \
	tests/check_pressure \
	tests/check_chunks \
	tests/check_span \
	tests/check_chunks_random
preload_tests = \
	tests/cli.sh \
	tests/docs.sh \
	tests/doctor.sh \
	tests/top.sh \
	tests/preload_symbols.sh \
	tests/preload_exit.sh \
	tests/preload_held_by.sh \
	tests/preload_signals.sh \
	tests/preload_limits.sh \
	tests/preload_quota.sh \
	tests/preload_memory.sh \
	tests/preload_table.sh \
	tests/report.sh \
	tests/native_lines.sh \
	tests/preload_report.sh \
	tests/preload_lifetime.sh \
	tests/preload_dtypes.sh \
	tests/preload_symbolic.sh \
	tests/preload_link.sh \
	tests/examples.sh \
	tests/preload_rights.sh \
	tests/preload_hostile.sh \
	tests/preload_linker.sh \
	tests/loads_late.sh \
	tests/preload_old_libc.sh \
	tests/preload_harm.sh \
	tests/preload_leaf.sh \
	tests/preload_leaves.sh \
	tests/preload_cuda.sh \
	tests/preload_others.sh \
	tests/preload_bridge.sh \
	tests/preload_bridge_fails.sh \
	tests/preload_deb.sh \
	tests/preload_wheel.sh \
	tests/preload_prebuilt.sh \
	tests/preload_pytest.sh \
	tests/storm.sh \
	tests/fail_points.sh

core_libs = libcore.la $(CHECK_LIBS)
suite_libs = libcore.la $(jemalloc_libs) $(CHECK_LIBS)
command_libs = libcommand.la $(suite_libs)
tests_check_text_LDADD = $(core_libs)
tests_check_wait_LDADD = $(core_libs)
tests_check_write_SOURCES = tests/check_write.c tests/kernel.c tests/kernel.h
tests_check_write_LDADD = $(core_libs)
tests_check_options_LDADD = $(core_libs)
tests_check_elf_LDADD = $(core_libs)
tests_check_libraries_LDADD = $(core_libs)
tests_check_segments_LDADD = $(core_libs)
tests_check_arena_LDADD = $(suite_libs)
tests_check_free_cache_LDADD = $(core_libs)
tests_check_table_LDADD = $(core_libs)
tests_check_history_LDADD = $(core_libs)
tests_check_counters_LDADD = $(core_libs)
tests_check_foreign_LDADD = $(core_libs)
tests_check_table_load_LDADD = $(suite_libs)
tests_check_growth_LDADD = $(core_libs)
tests_check_sites_LDADD = $(suite_libs)
tests_check_python_LDADD = $(suite_libs)
tests_check_python_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
tests_check_frames_LDADD = $(suite_libs)
tests_check_frames_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
tests_check_doctor_LDADD = $(command_libs)
tests_check_summary_LDADD = $(command_libs)
tests_check_remote_LDADD = $(command_libs)
tests_check_report_LDADD = $(command_libs)
tests_check_screen_LDADD = $(command_libs)
tests_check_lines_LDADD = $(suite_libs)
tests_check_lines_LDFLAGS = $(AM_LDFLAGS) -export-dynamic
tests_check_top_LDADD = $(command_libs)
tests_check_native_lines_LDADD = $(command_libs)
tests_check_native_lines_CFLAGS = $(AM_CFLAGS) -g # it reads its own debug information
tests_check_table_bounds_LDADD = $(suite_libs)
tests_check_doctor_job_LDADD = $(command_libs)
tests_check_destination_LDADD = $(command_libs)
tests_check_program_LDADD = $(command_libs)
tests_check_table_memory_LDADD = $(core_libs)
tests_check_verdict_LDADD = $(core_libs)
tests_check_block_LDADD = $(suite_libs)
tests_check_many_LDADD = $(suite_libs)
tests_check_api_LDADD = $(suite_libs)
tests_check_dlpack_LDADD = $(suite_libs)
tests_check_tensor_LDADD = $(suite_libs)
tests_check_shutdown_LDADD = $(suite_libs)
tests_check_signals_SOURCES = tests/check_signals.c tests/kernel.c tests/kernel.h
tests_check_signals_LDADD = $(suite_libs)
tests_check_gate_SOURCES = tests/check_gate.c tests/kernel.c tests/kernel.h
tests_check_gate_LDADD = $(suite_libs)
tests_check_fork_LDADD = $(suite_libs)
tests_check_driver_LDADD = $(suite_libs)
tests_check_cuda_LDADD = $(suite_libs)
tests_check_device_block_SOURCES = tests/check_device_block.c tests/kernel.c tests/kernel.h
tests_check_device_block_LDADD = $(suite_libs)
tests_check_background_LDADD = $(core_libs)
tests_check_in_flight_LDADD = $(suite_libs)
tests_check_stream_use_LDADD = $(suite_libs)
tests_check_magazine_LDADD = $(suite_libs)
tests_check_starts_LDADD = $(core_libs)
tests_check_locks_LDADD = $(suite_libs)
tests_check_budget_LDADD = $(suite_libs)
tests_check_pages_SOURCES = tests/check_pages.c tests/kernel.c tests/kernel.h
tests_check_pages_LDADD = $(suite_libs)
tests_check_attributes_SOURCES = tests/check_attributes.c tests/kernel.c tests/kernel.h
tests_check_attributes_LDADD = $(suite_libs)
tests_check_node_share_SOURCES = tests/check_node_share.c tests/kernel.c tests/kernel.h
tests_check_node_share_LDADD = $(suite_libs)
tests_check_pressure_SOURCES = tests/check_pressure.c tests/kernel.c tests/kernel.h
tests_check_pressure_LDADD = $(suite_libs)
tests_check_limit_LDADD = $(suite_libs)
tests_check_chunks_LDADD = $(core_libs)
tests_check_span_LDADD = $(core_libs)
tests_check_fake_LDADD = $(core_libs)
tests_check_chunks_random_LDADD = $(core_libs)

# Stands in for CUDA, under the name that its driver has. Its thread-local data is there from a thread's start: libc ends the process
# where it finds no memory for it later, which tests/fail_points.sh would take for our fault.
tests/libcuda.so.1: $(srcdir)/tests/programs/fake_cuda.c
	$(AM_V_GEN)$(MKDIR_P) tests && $(CC) -O1 -g -Wall -shared -fPIC -ftls-model=initial-exec $(srcdir)/tests/programs/fake_cuda.c -o $@ -Wl,-soname,libcuda.so.1 -lpthread -ldl
tests/old_cuda/libcuda.so.1: $(srcdir)/tests/programs/fake_cuda.c
	$(AM_V_GEN)$(MKDIR_P) tests/old_cuda && $(CC) -O1 -g -Wall -shared -fPIC -ftls-model=initial-exec -DWITHOUT_ATTRIBUTES -DWITHOUT_NUMBERS $(srcdir)/tests/programs/fake_cuda.c -o $@ -Wl,-soname,libcuda.so.1 -lpthread -ldl
CLEANFILES += tests/libcuda.so.1 tests/old_cuda/libcuda.so.1

# Stand in for libtorch, of today and of before 2.11.
fake_torch = tests/torch/libtorch_cpu.so tests/torch/libc10.so tests/old_torch/libtorch_cpu.so tests/old_torch/libc10.so tests/old_torch/rest.so
make_fake_torch = $(AM_V_GEN)$(MKDIR_P) tests/torch tests/old_torch && $(CC) -O1 -g -Wall -shared -fPIC $(srcdir)/tests/programs/fake_libtorch.c -o $@
tests/torch/libtorch_cpu.so: $(srcdir)/tests/programs/fake_libtorch.c
	$(make_fake_torch)
tests/torch/libc10.so: $(srcdir)/tests/programs/fake_libtorch.c
	$(make_fake_torch) -DC10
tests/old_torch/libtorch_cpu.so: $(srcdir)/tests/programs/fake_libtorch.c
	$(make_fake_torch) -DOLD
tests/old_torch/libc10.so: $(srcdir)/tests/programs/fake_libtorch.c
	$(make_fake_torch) -DOLD_C10
tests/old_torch/rest.so: $(srcdir)/tests/programs/fake_libtorch.c
	$(make_fake_torch) -DREST
CLEANFILES += $(fake_torch)

fakes = tests/libcuda.so.1 tests/old_cuda/libcuda.so.1 $(fake_torch)
tests-fakes: $(fakes)
.PHONY: tests-fakes

TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = bash
AM_TESTS_ENVIRONMENT = top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' CC='$(CC)' MAKE='$(MAKE)'; \
	export top_srcdir top_builddir CC MAKE;

if HAVE_CHECK
check_PROGRAMS = $(check_suites)
check_DATA = $(fakes)
TESTS = $(check_suites) $(preload_tests)
else
check-local:
	@echo 'make check needs Check 0.10 or newer, which ./configure did not find (Debian, Ubuntu: apt install check)' >&2
	@exit 1
endif

EXTRA_DIST += \
	tests/suite.h \
	tests/patterns.h \
	tests/patterns_leak.h \
	tests/patterns_clean.h \
	tests/blocks.h \
	tests/fake.h \
	tests/fake_python.h \
	tests/elsewhere.h \
	tests/folder.h \
	tests/table_of.h \
	tests/whole_table.h \
	tests/chunks.h \
	tests/lib.sh \
	$(preload_tests) \
	tests/programs/ends.c \
	tests/programs/signals.c \
	tests/programs/terminate.cpp \
	tests/programs/storm.c \
	tests/programs/keeps.c \
	tests/programs/native_lines.cpp \
	tests/programs/many_sites.c \
	tests/programs/refuses.c \
	tests/programs/fail_points.c \
	tests/programs/fake_op.c \
	tests/programs/frames.c \
	tests/programs/fake_job.c \
	tests/programs/fake_cuda.c \
	tests/programs/fake_libtorch.c \
	tests/programs/cuda_job.c \
	tests/programs/pins.c \
	tests/programs/fake_torch.cpp \
	tests/programs/fake_torch_cuda.cpp \
	tests/bridge.sh \
	preload/bridge/host_allocator.cpp \
	preload/bridge/try_bridge.cpp \
	tests/programs/many_mappings.c \
	tests/programs/memory.c \
	tests/programs/linked.c \
	tests/programs/linker.c \
	tests/programs/loads_late.c \
	tests/programs/locking_malloc.c \
	tests/programs/wraps_dlsym.c \
	tests/programs/drop_in.cpp \
	tests/programs/fork_meets.c \
	tests/programs/frozen_clock.c \
	tests/programs/harm.c \
	tests/programs/sandbox.c \
	tests/programs/aborts_early.c \
	tests/programs/leaves.c \
	tests/programs/late.c \
	tests/programs/keeps_waiting.c \
	tests/programs/embeds.c \
	tests/python/run_signals.py \
	tests/python/top_terminal.py \
	tests/python/ends_slowly.py \
	tests/python/ops.py \
	tests/python/dlpack.py \
	tests/python/drop_in.py \
	tests/python/held_by.py \
	tests/python/module.py \
	tests/python/pinned_tests.py \
	tests/python/pin.py \
	tests/python/crowd.py \
	tests/python/pins.py \
	tests/python/train.py \
	tests/python/subinterpreter.py \
	tests/python/gil.py \
	tests/python/leaf.py \
	tests/python/frames.py \
	tests/python/lifetime.py \
	tests/python/features.py \
	tests/python/dtypes.py
