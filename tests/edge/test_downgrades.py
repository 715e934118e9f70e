"""HTTP/2 towards the client, HTTP/1 towards the origin: nothing in a field becomes another line, or another request."""

import pytest
from corpus.downgrades import CASES
from frames import play_and_judge as JOB  # noqa: F401 - what plays these cases

TRANSPORTS = {"clear": False, "TLS": True}
PARAMETERS = [
    pytest.param((case, secure), id=f"{transport}: {case.name}")
    for transport, secure in TRANSPORTS.items()
    for case in CASES
]


def test_every_case_has_a_name_of_its_own():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)


@pytest.mark.parametrize("case", PARAMETERS)
def test_case(case, result):
    _, wrong = result
    if wrong:
        pytest.fail(wrong, pytrace=False)
