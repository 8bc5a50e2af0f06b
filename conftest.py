"""Training needs PyTorch, which is too large for every check; without it its tests are left out."""

import importlib.util

NO_TORCH = importlib.util.find_spec("torch") is None
collect_ignore_glob = ["models/training/*"] if NO_TORCH else []


def pytest_report_header() -> str:
    return "without PyTorch: models/training is left out" if NO_TORCH else "with PyTorch"
