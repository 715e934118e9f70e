"""Malformed and ambiguous HTTP/1 requests: refused whole, or forwarded in a form that can be read in one way only."""

import pytest
from corpus import FAMILIES

CASES = [pytest.param(case, id=f"{family}: {case.name}") for family, cases in FAMILIES.items() for case in cases]


def test_every_case_has_a_name_of_its_own():
    for family, cases in FAMILIES.items():
        names = [case.name for case in cases]
        assert len(set(names)) == len(names), (family, sorted(name for name in names if names.count(name) > 1))


@pytest.mark.parametrize("case", CASES)
def test_case(case, result):
    _, wrong = result
    if wrong:
        pytest.fail(wrong, pytrace=False)
