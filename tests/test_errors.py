from __future__ import annotations

from petclassify.errors import first_line


def test_a_line_that_only_announces_is_told_with_what_it_announces() -> None:
    assert first_line(RuntimeError("\nError(s) in loading:\n\tsize mismatch\n\tmore")) == (
        "Error(s) in loading: size mismatch"
    )
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"


def test_a_line_that_a_file_made_long_is_cut() -> None:
    told = first_line(RuntimeError(f"Unrecognized attribute: {'a' * 10**6}"))
    assert told.startswith("Unrecognized attribute: aaa")
    assert told.endswith(" ...")
    assert len(told) < 500
