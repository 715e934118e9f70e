"""Transfer-Encoding: alone, twice, beside a length, in disguise."""

from cases import HOST, Outcome, accepted, case, either, get, message, post, posted, refused

CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: edge.test\r\n\r\n"

SPELLINGS = [
    ("Content-Length", "Transfer-Encoding"),
    ("content-length", "transfer-encoding"),
    ("CONTENT-LENGTH", "TRANSFER-ENCODING"),
    ("cOnTeNt-LeNgTh", "tRaNsFeR-eNcOdInG"),
]


def with_a_length():
    """Both ways to say where the body ends: in either order, in any case, near and far, for either reading."""
    for length, coding in SPELLINGS:
        for name, raw, value in [
            ("the whole", CHUNKS, 15),
            ("zero", CHUNKS, 0),
            ("less", SMUGGLED, 4),
            ("more", CHUNKS, 99),
        ]:
            first = [f"{length}: {value}", f"{coding}: chunked"]
            yield refused(f"{length} of {name}, then {coding}", post(*first, body=raw))
            yield refused(f"{coding}, then {length} of {name}", post(*first[::-1], body=raw))
    both = ["Content-Length: 15", "X-Between: 1", "Transfer-Encoding: chunked"]
    yield refused("length and coding with a field between", post(*both, body=CHUNKS))
    yield refused("coding and length with a field between", post(*both[::-1], body=CHUNKS))
    yield refused("length and coding Chunked", post("Content-Length: 15", "Transfer-Encoding: Chunked", body=CHUNKS))
    yield refused("a GET with both", get("Content-Length: 5", "Transfer-Encoding: chunked") + CHUNKS)
    yield refused(
        "length and coding identity", post("Content-Length: 5", "Transfer-Encoding: identity", body="hello"), 400, 501
    )
    yield refused("length and an empty coding", post("Content-Length: 5", "Transfer-Encoding:", body="hello"), 400, 501)
    yield refused(
        "length and coding gzip", post("Content-Length: 5", "Transfer-Encoding: gzip", body="hello"), 400, 501
    )
    yield refused(
        "length, coding, length",
        post("Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 5", body=CHUNKS),
    )


# Not exactly `chunked`: an unknown coding, or one after which the end of the body is not known.
NOT_CHUNKED = [
    "identity", "gzip", "deflate", "compress", "x-gzip", "br", "xchunked", "chunkedx", "x-chunked", "chunke", "chunk",
    "chunked, chunked", "chunked,chunked", "chunked, gzip", "chunked, identity", "gzip, chunked", "gzip,chunked",
    "deflate, gzip, chunked", "identity, chunked", "x, chunked", "chunked;q=1", "chunked;", "chunked ;a=b",
    "chunked; x", '"chunked"', "'chunked'", '"chunked', "(chunked)", "chunked chunked", "chunked gzip", "chunked,",
    ",chunked", ", chunked", "chunked, ,", ",", "", " ", "\t", "0", "*", "none", "chunked=1", "chunked/1.0",
    "chun\tked", "chun ked", "c,h,u,n,k,e,d", "trailers", "close", "chunked#", "chunked\\", "\\chunked", "chunked%20",
    "%63hunked",
]  # fmt: skip
# What some readers take for a blank, and others do not.
BLANKS = {
    "VT": "\x0b", "FF": "\x0c", "NUL": "\0", "0x1c": "\x1c", "0x1f": "\x1f", "0x85": "\x85", "0xa0": "\xa0",
    "0xad": "\xad", "DEL": "\x7f", "BS": "\b", "ESC": "\x1b", "a bare CR": "\r",
}  # fmt: skip


def not_chunked():
    for value in NOT_CHUNKED:
        yield refused(f"coding {value!r}", post(f"Transfer-Encoding: {value}", body=CHUNKS), 400, 501)
    for name, blank in BLANKS.items():
        for place, value in [
            ("before", f"{blank}chunked"),
            ("after", f"chunked{blank}"),
            ("within", f"chun{blank}ked"),
        ]:
            yield refused(f"{name} {place} chunked", post(f"Transfer-Encoding: {value}", body=CHUNKS), 400, 501)
        yield refused(
            f"{name} before chunked, without a blank", post(f"Transfer-Encoding:{blank}chunked", body=CHUNKS), 400, 501
        )
    for upper in ["\u017f", "\u212a"]:  # letters whose lower or upper case is an ASCII letter
        value = "chunKed".replace("K", upper) if upper == "\u212a" else f"chunked{upper}"
        yield refused(
            f"coding with U+{ord(upper):04X}", post(b"Transfer-Encoding: " + value.encode(), body=CHUNKS), 400, 501
        )


TWICE = [
    ("chunked", "chunked"), ("chunked", "identity"), ("identity", "chunked"), ("chunked", "gzip"), ("gzip", "chunked"),
    ("", "chunked"), ("chunked", ""), ("x", "chunked"), ("chunked", "x"), ("Chunked", "CHUNKED"),
]  # fmt: skip


def twice():
    for one, other in TWICE:
        raw = post(f"Transfer-Encoding: {one}", f"Transfer-Encoding: {other}", body=CHUNKS)
        yield refused(f"coding {one!r} and coding {other!r}", raw, 400, 501)
        raw = post(f"Transfer-Encoding: {one}", "X-Between: 1", f"transfer-encoding: {other}", body=CHUNKS)
        yield refused(f"coding {one!r}, a field, and coding {other!r}", raw, 400, 501)
    many = ["Transfer-Encoding: chunked"] * 3
    yield refused("three codings", post(*many, body=CHUNKS), 400, 501)


def good():
    for value in [
        "chunked",
        "Chunked",
        "CHUNKED",
        "cHuNkEd",
        " chunked",
        "chunked ",
        "\tchunked",
        "chunked\t",
        " \t chunked \t ",
    ]:
        yield accepted(f"coding {value!r} alone", post(f"Transfer-Encoding: {value}", body=CHUNKS), posted())
    for name in ["transfer-encoding", "TRANSFER-ENCODING", "Transfer-encoding"]:
        yield accepted(f"{name} alone", post(f"{name}: chunked", body=CHUNKS), posted())
    yield accepted("coding without a blank", post("Transfer-Encoding:chunked", body=CHUNKS), posted())


# Lines that some readers take for Transfer-Encoding. Beside a length, because they are none to the others.
DISGUISED = [
    "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", "Transfer-Encoding \t : chunked",
    "Transfer-Encoding\0: chunked", "Transfer-Encoding\x0b: chunked", "Transfer-Encoding\x0c: chunked",
    "Transfer-Encoding\xa0: chunked", "Transfer-Encoding\r: chunked", "\tTransfer-Encoding: chunked",
    " Transfer-Encoding: chunked", "\0Transfer-Encoding: chunked", "\x0bTransfer-Encoding: chunked",
    "\rTransfer-Encoding: chunked", "\xefTransfer-Encoding: chunked", "Transfer Encoding: chunked",
    "Transfer-Encoding", "Transfer-Encoding chunked", "Transfer-Encoding; chunked", "Transfer-Encoding=chunked",
    "Transfer-Encoding:: chunked", "Transfer-Encoding,: chunked", "Transfer\0-Encoding: chunked",
    '"Transfer-Encoding": chunked', "Transfer-Encoding[]: chunked", "X: y\rTransfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked", "X: y\r Transfer-Encoding: chunked", "X: y\n\rTransfer-Encoding: chunked",
    "X: y\r\rTransfer-Encoding: chunked", "X: y\r\n Transfer-Encoding: chunked",
    "X: y\r\n\tTransfer-Encoding: chunked", "X:\r\n Transfer-Encoding: chunked", "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding:\r\n\tchunked", "Transfer-Encoding: \r\n chunked", "Transfer-Encoding: chunked\r\n ",
    "Transfer-Encoding: chunked\r\n\tx", "Transfer-Encoding: x\r\n chunked", "Transfer-Encoding\r\n: chunked",
    "Transfer-Encoding: chunked\r", "Transfer-Encoding: \rchunked", "Transfer-Encoding:\rchunked",
    "Transfer-\r\n Encoding: chunked",
]  # fmt: skip


def disguised():
    for line in DISGUISED:
        yield refused(f"length and {line!r}", post("Content-Length: 5", line, body="hello"), 400, 501)
        yield refused(f"{line!r} and length", post(line, "Content-Length: 5", body="hello"), 400, 501)
        if "\n" in line:
            yield refused(f"{line!r} alone", post(line, body=CHUNKS), 400, 501)
    for line in [
        "Transfer_Encoding: chunked",
        "Transfer-Encoding_: chunked",
        "X-Transfer-Encoding: chunked",
        "Transfer.Encoding: chunked",
    ]:
        raw = post("Content-Length: 5", line, body="hello")
        yield either(f"length and {line!r}", raw, posted(absent=("transfer-encoding", "transfer_encoding")))


def of_version_1_0():
    for value in ["chunked", "identity", "gzip", "chunked, gzip"]:
        raw = message("POST /x HTTP/1.0", [HOST, f"Transfer-Encoding: {value}"], CHUNKS)
        yield refused(f"HTTP/1.0 with coding {value}", raw, 400, 501)
    raw = message("POST /x HTTP/1.0", [HOST, "Content-Length: 5", "Transfer-Encoding: chunked"], CHUNKS)
    yield refused("HTTP/1.0 with length and coding", raw)
    raw = message("POST /x HTTP/1.0", [HOST, "Connection: keep-alive", "Transfer-Encoding: chunked"], CHUNKS)
    yield refused("HTTP/1.0 with coding, to be kept", raw, 400, 501)
    ends = Outcome((posted(b""),)), Outcome(ends=(400, 411))
    yield case("a POST without a length", post(body=""), *ends)


CASES = [*with_a_length(), *not_chunked(), *twice(), *good(), *disguised(), *of_version_1_0()]
