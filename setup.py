"""What pyproject.toml cannot say: the contracts' modules are generated before they are packed."""

import sys
from pathlib import Path

from setuptools import find_namespace_packages, setup

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tools import protos

# Before `setup`, since packages are looked for when it is called, for a wheel and for an editable install alike.
protos.build(only_if_changed=True)

setup(
    packages=find_namespace_packages(
        include=["libs", "libs.*", "services", "services.*", "luxor", "luxor.*"],
        exclude=["*__pycache__*"],
    ),
    package_data={"": ["*.yaml", "*.txt", "*.csv", "*.csv.gz", "*.mako", "*.pyi", "*.json", "*.tcss", "*.md"]},
)
