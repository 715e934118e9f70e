"""The requests, by family."""

from corpus import (
    bodies,
    chunks,
    codings,
    connections,
    fields,
    hosts,
    lengths,
    lines,
    names,
    request_lines,
    sizes,
    targets,
)

FAMILIES = {
    "transfer codings": codings.CASES,
    "lengths": lengths.CASES,
    "ends of lines": lines.CASES,
    "fields": fields.CASES,
    "request lines": request_lines.CASES,
    "targets": targets.CASES,
    "hosts": hosts.CASES,
    "sizes": sizes.CASES,
    "chunks": chunks.CASES,
    "bodies": bodies.CASES,
    "connections": connections.CASES,
    "names": names.CASES,
}
