"""Starts the real parts of the tests: Apache Kafka, an S3 server and an OpenID Connect issuer.

A *part* is one server as its makers ship it, on loopback and free ports, with credentials made for this run. `up` starts
all of them below one folder and describes them in `parts.json`, which is all that a test has to read.
Standard library only, but for the admin client that makes topics and access lists.
"""
