from __future__ import annotations

from petclassify.errors import first_line


def test_a_line_that_only_announces_is_told_with_what_it_announces() -> None:
    assert first_line(RuntimeError("\nError(s) in loading:\n\tsize mismatch\n\tmore")) == (
        "Error(s) in loading: size mismatch"
    )
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"
