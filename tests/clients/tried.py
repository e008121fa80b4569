"""Whether the data tried every line of `who-sees-what.csv`: a comparison is true of nothing where there was nothing to see.

Of each line's table, scope and column, somebody's row must show a value that this scope alone shows at that level, or hold
a value that it hides. Each scope must leave out a row. What was shown and hidden indeed, the comparison with the endpoint
says; both read the same rows.
"""

from .check import Check
from .oracle import LEVELS, Oracle, Rule, Scope
from .people import Person

# What the mask makes NULL of every value.
ALWAYS_NULL = {("generalised", "city")}

Rows = dict[str, list[dict]]
# Role, purpose, table and scope.
Place = tuple[str, str, str, str]


def names_of(rule: Rule, tables: Rows) -> list[str]:
    """The tables that a line is about."""
    if rule.table in ("audit.*", "catalog.*"):
        # The engine's own; they are not among the tables that are compared here.
        return [name for name in tables if name.startswith(rule.table.removesuffix("*"))]
    if not rule.table.startswith("raw."):
        return [f"curated.{rule.table}"]
    dead = rule.table.endswith("__dead_letter")
    return [name for name in tables if name.startswith("raw.") and name.endswith("__dead_letter") == dead]


class Tried:
    """Collects, person by person, which cells of which scope the data had."""

    def __init__(self, judge: Oracle, tables: Rows):
        self.judge, self.tables = judge, tables
        self.columns: dict[Place, dict[str, str]] = {}
        self.seen: set[tuple[Place, str]] = set()
        self.left_out: set[Place] = set()

    def add(self, person: Person) -> None:
        for name, rows in self.tables.items():
            scopes = self.judge.scopes_of(person, name)
            places = [(scope.role, person.purpose, name, scope.name) for scope in scopes]
            for place, scope in zip(places, scopes, strict=True):
                self.columns[place] = {column: level for column, (level, _) in scope.levels.items()}
            filled: dict[tuple[bool, ...], dict[str, object]] = {}
            for row in rows:
                held = tuple(bool(scope.holds(row)) for scope in scopes)
                known = filled.setdefault(held, {})
                known.update({column: value for column, value in row.items() if value is not None and column not in known})
                self.note_left_out(row, scopes, places, held)
            for held, values in filled.items():
                for number, scope in enumerate(scopes):
                    if held[number]:
                        others = [other for other, holds in zip(scopes, held, strict=True) if holds and other is not scope]
                        self.note(person, places[number], scope, others, values)

    def note(self, person: Person, place: Place, scope: Scope, others: list[Scope], values: dict[str, object]) -> None:
        for column, value in values.items():
            level, tag = scope.levels[column]
            rank = LEVELS.index(level)
            beside = max((LEVELS.index(other.levels[column][0]) for other in others), default=-1)
            if level == "hidden":
                proved = beside <= rank
            else:
                shown = self.judge.mask(level, tag, column, value, person.purpose, "somebody")
                proved = beside < rank and (shown is not None or (level, column) in ALWAYS_NULL)
            if proved:
                self.seen.add((place, column))

    def note_left_out(self, row: dict, scopes: list[Scope], places: list[Place], held: tuple[bool, ...]) -> None:
        """A scope of ordinary rows must leave out a special one for being special."""
        for number, scope in enumerate(scopes):
            if not held[number] and (not scope.name.endswith("ordinary") or row["sensitivity"] == "special"):
                self.left_out.add(places[number])

    def report(self, check: Check) -> None:
        wanted = {(rule.role, rule.purpose, name, rule.scope) for rule in self.judge.rules for name in names_of(rule, self.tables)}
        for place in sorted(wanted):
            role, purpose, name, scope = place
            where = f"the data does not try {role} ({purpose}): {name}, {scope}"
            if not check.that(place in self.columns, f"{where}: nobody asked in this role"):
                continue
            check.that(scope == "all" or place in self.left_out, f"{where}: no row is left out")
            for column, level in self.columns[place].items():
                check.that((place, column) in self.seen, f"{where}: no value that it {'hides' if level == 'hidden' else 'shows'} in {column}")
