"""Which packages there are; all else is in pyproject.toml. A new folder of mi_runner or conf is found, not named."""

from setuptools import find_namespace_packages, find_packages, setup

configs = [f"mi_runner.{name}" for name in find_namespace_packages(include=["conf", "conf.*"])]
setup(packages=[*find_packages(include=["mi_runner", "mi_runner.*"]), "mi_runner.datasets.mnist_files", *configs])
