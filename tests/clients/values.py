"""One spelling for each value, whichever client gave it."""

import datetime
import math
from decimal import Decimal


def canonical(value: object) -> object:
    """A hashable, comparable form: instants in UTC to the microsecond, bytes in hex, numbers by their value."""
    match value:
        case None | bool() | str():
            return value
        case datetime.datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
            return aware.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
        case datetime.date():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case int() | Decimal():
            return Decimal(value).normalize()
        case float():
            return "NaN" if math.isnan(value) else Decimal(repr(value)).normalize()
        case list() | tuple():
            return tuple(canonical(item) for item in value)
        case dict():
            return tuple((key, canonical(item)) for key, item in value.items())
    raise TypeError(f"no spelling for {type(value).__name__}")
