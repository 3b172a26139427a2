"""Print pins or requirements with their markers decided for another Python: pins_for.py FILE MINOR, or --needs pyproject.toml MINOR."""

import sys
from pathlib import Path

from packaging.requirements import Requirement

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib


def main() -> None:
    """Requirements whose marker holds on aarch64 Linux with the given Python, one a line (pins) or in one line (needs)."""
    *option, path, minor = sys.argv[1:]
    if option:
        lines = tomllib.loads(Path(path).read_text())["project"]["dependencies"]
    else:
        lines = [line for line in Path(path).read_text().splitlines() if line and not line.startswith("#")]
    target = {"python_version": minor, "python_full_version": f"{minor}.0", "platform_machine": "aarch64", "sys_platform": "linux"}
    kept = []
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(target):
            requirement.marker = None
            kept.append(str(requirement).replace(" ", ""))
    print("\n".join(kept) if not option else " ".join(kept))


if __name__ == "__main__":
    main()
