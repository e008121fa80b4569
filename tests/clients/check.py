"""What a comparison keeps, and the comparisons that more than one client needs. No sentence names a value."""

from collections import Counter

from .endpoint import Refusal
from .values import canonical


class Check:
    """Counts what was compared, and keeps what differed."""

    def __init__(self) -> None:
        self.compared = Counter()
        self.differences: list[str] = []

    def that(self, holds: bool, sentence: str) -> bool:
        self.compared["statements"] += 1
        if not holds:
            self.differences.append(sentence)
        return holds

    def rows(self, where: str, wanted: list[dict], found: list[dict], columns: list[str]) -> None:
        """As multisets: no order is promised."""
        self.compared["cells"] += len(wanted) * len(columns)
        if not self.that(len(found) == len(wanted), f"{where}: {len(found)} rows, {len(wanted)} expected"):
            return
        as_wanted, as_found = (Counter(tuple(canonical(row[column]) for column in columns) for row in rows) for rows in (wanted, found))
        if as_wanted == as_found:
            return
        guilty = [
            column
            for column in columns
            if Counter(canonical(row[column]) for row in wanted) != Counter(canonical(row[column]) for row in found)
        ]
        self.that(False, f"{where}: {sum((as_wanted - as_found).values())} rows differ, in {', '.join(guilty) or 'how cells stand together'}")

    def levels(self, where: str, told: dict[str, str], stated: dict[str, str]) -> None:
        """What a client is told of each column is what the rules say of it."""
        self.compared["levels"] += len(stated)
        for column, level in stated.items():
            self.that(told.get(column) == level, f"{where}.{column}: told to be {told.get(column)}, it is {level}")

    def alike(self, where: str, hidden: tuple[str, object], absent: tuple[str, object]) -> bool:
        """Two refusals, each with the name it was for, that differ in that name alone; whether there were refusals at all."""
        (name, refusal), (unknown, other) = hidden, absent
        if not self.that(isinstance(refusal, Refusal) and isinstance(other, Refusal), f"{where}: answered"):
            return False
        said = (refusal.status, refusal.code, refusal.detail.replace(name, "?"))
        wanted = (other.status, other.code, other.detail.replace(unknown, "?"))
        return self.that(said == wanted, f"{where}: what is hidden is told from what is absent")


def absent_name(name: str) -> str:
    """As long, as nearly alike, and not there."""
    return f"{name[:-1]}{'x' if name[-1] != 'x' else 'y'}"
