"""Names that are read as others, with underscores for dashes, and what a client says of itself."""

from cases import HOST, Seen, accepted, either, get, message, posted, with_length

OURS = {
    "X-Forwarded-For": ("6.6.6.6", "127.0.0.1"),
    "X-Real-IP": ("6.6.6.6", "127.0.0.1"),
    "X-Forwarded-Host": ("other.test", "edge.test"),
    "X-Forwarded-Proto": ("https", "http"),
}
# Set by Pylon or by nobody.
STRIPPED = {
    "X-Forwarded-Prefix": "/other",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Server": "other.test",
    "X-Forwarded-Ssl": "on",
    "Forwarded": "for=6.6.6.6",
}
FRAMING = {"Content-Length": "500", "Transfer-Encoding": "chunked", "Connection": "close", "X-Request-Id": "other"}


def spellings(name):
    """A name with some or all of its dashes as underscores, in several cases."""
    at = [index for index, letter in enumerate(name) if letter == "-"]
    for mask in range(1, 2 ** len(at)):
        letters = list(name)
        for bit, index in enumerate(at):
            if mask >> bit & 1:
                letters[index] = "_"
        spelled = "".join(letters)
        yield from dict.fromkeys([spelled, spelled.lower(), spelled.upper()])


def disguised():
    for name, (theirs, ours) in OURS.items():
        for spelled in spellings(name):
            seen = Seen(has=[(name.lower(), ours)], absent=[spelled.lower()])
            yield either(f"{spelled}", get(f"{spelled}: {theirs}"), seen)
            yield either(f"{spelled} beside {name}", get(f"{name}: {theirs}", f"{spelled}: {theirs}"), seen)
    for name, value in [*STRIPPED.items(), *FRAMING.items()]:
        for spelled in spellings(name):
            raw = with_length(f"{spelled}: {value}")
            yield either(f"{spelled}", raw, posted(has=[("content-length", "5")], absent=[spelled.lower()]))
    for name in [
        "Host_",
        "_Host",
        "HOST_",
        "X_Forwarded_For_",
        "_X_Forwarded_For",
        "Content_Length_",
        "_Transfer_Encoding",
        "Forwarded_",
    ]:
        yield either(f"{name}", get(f"{name}: other.test"), Seen(absent=[name.lower()]))
    for spelled in ["X_Forwarded_For", "x_real_ip"]:
        raw = get(f"Connection: {spelled}", f"{spelled}: 6.6.6.6")
        yield either(
            f"{spelled}, named by Connection",
            raw,
            Seen(has=[("x-forwarded-for", "127.0.0.1")], absent=[spelled.lower()]),
        )


def imitated():
    """What a client says of itself under the real names is replaced."""
    for name, (theirs, ours) in OURS.items():
        seen = Seen(has=[(name.lower(), ours)])
        for spelled in (name, name.lower(), name.upper()):
            yield accepted(f"{spelled} of the client", get(f"{spelled}: {theirs}"), seen)
        yield accepted(f"{name} twice", get(f"{name}: {theirs}", f"{name}: {theirs}"), seen)
        yield accepted(f"an empty {name}", get(f"{name}:"), seen)
        yield accepted(f"{name} that is a list", get(f"{name}: {theirs}, {ours}"), seen)
    for name, value in STRIPPED.items():
        yield accepted(f"{name} of the client", get(f"{name}: {value}"), Seen(absent=[name.lower()]))
    old = message("GET /x HTTP/1.0", [HOST, "X-Forwarded-For: 6.6.6.6"])
    yield accepted("X-Forwarded-For in HTTP/1.0", old, Seen(has=[("x-forwarded-for", "127.0.0.1")]))
    for name in ["My_Own", "X_Custom", "sec_fetch"]:
        yield either(f"{name}, which is like no other", get(f"{name}: 1"))


CASES = [*disguised(), *imitated()]
