"""Training needs PyTorch, and the converters of data sets some readers, which are too large for every
check; without them their tests are left out."""

from importlib.util import find_spec

NO_TORCH = find_spec("torch") is None
NO_READERS = any(find_spec(name) is None for name in ("h5py", "safetensors", "scipy"))
collect_ignore_glob = [
    *(f"models/training/{part}/*" for part in ("dictionary", "lifter", "people") if NO_TORCH),
    *(["models/training/datasets/*"] if NO_READERS else []),
]


def pytest_report_header() -> str:
    said = "without PyTorch: tests of the training are left out" if NO_TORCH else "with PyTorch"
    return f"{said}; without h5py, safetensors and scipy: datasets are left out" if NO_READERS else said
