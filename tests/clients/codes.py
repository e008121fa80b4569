"""The reference lists: which code systems are known, and which of their codes are special."""

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Codes:
    """`systems`: how a system is written to its own name and whether categories count; `special`: (name, code)."""

    systems: dict[str, tuple[str, bool]]
    special_codes: frozenset[tuple[str, str]]

    @classmethod
    def read(cls, folder: Path) -> "Codes":
        with (folder / "known_systems.csv").open(newline="") as file:
            systems = {row["system"]: (row["canonical"], row["matching"] == "category") for row in csv.DictReader(file)}
        with (folder / "special_codes.csv").open(newline="") as file:
            special = frozenset((row["system"], row["code"]) for row in csv.DictReader(file))
        return cls(systems, special)

    def known(self, system: str | None) -> bool:
        return system in self.systems

    def special(self, system: str | None, code: str | None) -> bool:
        """Listed, by itself or by its three-character category; or nobody can tell."""
        if system not in self.systems or code is None:
            return True
        canonical, by_category = self.systems[system]
        return (canonical, code) in self.special_codes or (by_category and (canonical, code[:3]) in self.special_codes)

    def listed_anywhere(self, code: str) -> bool:
        return any(code == listed for _, listed in self.special_codes)
