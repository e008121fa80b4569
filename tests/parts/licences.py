"""Holds deny.toml's licences, bans and sources against `cargo metadata`, offline.

The stand-in for cargo-deny where that is not installed. It has no advisory database and says so.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def permitted(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met from the allowed licences ('/' is the old way to write OR)."""
    tokens = re.findall(r"[()]|[A-Za-z0-9.+-]+", expression.replace("/", " OR "))
    position = 0

    def either() -> bool:
        nonlocal position
        met = both()
        while position < len(tokens) and tokens[position] == "OR":
            position += 1
            met = both() or met
        return met

    def both() -> bool:
        nonlocal position
        met = one()
        while position < len(tokens) and tokens[position] == "AND":
            position += 1
            met = one() and met
        return met

    def one() -> bool:
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "(":
            met = either()
            position += 1
            return met
        if position + 1 < len(tokens) and tokens[position] == "WITH":
            token = f"{token} WITH {tokens[position + 1]}"
            position += 2
        return token in allowed

    return bool(tokens) and either() and position == len(tokens)


def self_check() -> None:
    """The parser decides what ships, so it is tried before every use."""
    allowed = {"MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"}
    for expression, expected in {
        "MIT": True,
        "GPL-3.0-only": False,
        "MIT OR GPL-3.0-only": True,
        "MIT AND GPL-3.0-only": False,
        "GPL-3.0-only/MIT": True,
        "Apache-2.0 WITH LLVM-exception": True,
        "Apache-2.0 WITH Classpath-exception-2.0": False,
        "ISC AND (Apache-2.0 OR GPL-2.0-only)": True,
        "ISC AND (LGPL-2.1-only OR GPL-2.0-only)": False,
        "": False,
    }.items():
        if permitted(expression, allowed) is not expected:
            sys.exit(f"licences: the check itself is wrong about {expression!r}")


def deny_list(text: str) -> tuple[set[str], set[str]]:
    """The allowed licences and banned crates of deny.toml."""
    try:
        import tomllib
    except ImportError:
        sys.exit("licences: could not look: Python 3.11 or later is needed")
    rules = tomllib.loads(text)
    return set(rules["licenses"]["allow"]), {ban["name"] for ban in rules["bans"]["deny"]}


def packages(target: str) -> list[dict]:
    """The packages that the lock file resolves to for one target, without those of the workspace."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        sys.exit(f"licences: cargo metadata failed: {answer.stderr.strip()}")
    metadata = json.loads(answer.stdout)
    resolved = {node["id"] for node in metadata["resolve"]["nodes"]}
    return [package for package in metadata["packages"] if package["id"] in resolved and package["source"] is not None]


def main() -> None:
    self_check()
    allowed, banned = deny_list((REPOSITORY / "deny.toml").read_text())
    problems, seen, used = [], packages("x86_64-unknown-linux-gnu"), set()
    for package in seen:
        name = f"{package['name']} {package['version']}"
        if not package["source"].startswith(("registry+", "sparse+")):
            problems.append(f"{name} does not come from the registry")
        if package["name"] in banned:
            problems.append(f"{name} is banned in deny.toml")
        licence = package["license"]
        if licence is None:
            problems.append(f"{name} names no licence")
        elif not permitted(licence, allowed):
            problems.append(f"{name}: {licence}")
        else:
            used.add(licence)
    for problem in problems:
        print(f"licences: {problem}", file=sys.stderr)
    print(f"licences: {len(seen)} dependencies, {len(used)} distinct expressions, {len(problems)} problems")
    print("licences: advisories and yanked crates were NOT looked at (cargo-deny is not installed)")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
