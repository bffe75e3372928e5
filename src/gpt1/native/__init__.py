"""GPT-1 on a CPU without torch: memory-mapped weights, and kernels written for this one network.

The C++ sources are in `csrc`. Where the library was not built, PyTorch does the work.
"""
