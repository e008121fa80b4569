"""Ingest under kills and faults: the load, the proxy, the kills, the situations, and an oracle that knows nothing of Lakeward."""
