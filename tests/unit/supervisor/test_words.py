"""Last words with one cause are one traceback."""

from __future__ import annotations

from mpchat.supervisor.words import LastWords

WORDS = "Traceback (most recent call last):\nKeyError: 1"


def test_the_same_words_are_logged_once() -> None:
    words = LastWords(60.0)
    assert words.to_log(11, WORDS, 5.0) == f"\n{WORDS}"
    assert words.to_log(12, WORDS, 5.1) == ", last words as those of pid 11"
    assert words.to_log(13, "", 5.2) == ""
    assert words.to_log(14, WORDS, 5.3) == ", last words as those of pid 11"
    assert words.latest == WORDS


def test_other_words_and_old_ones_are_logged() -> None:
    words = LastWords(60.0)
    words.to_log(11, WORDS, 5.0)
    assert words.to_log(12, "KeyError: 2", 6.0) == "\nKeyError: 2"
    assert words.to_log(13, WORDS, 7.0) == f"\n{WORDS}"
    assert words.to_log(14, WORDS, 66.9) == ", last words as those of pid 13"
    assert words.to_log(15, WORDS, 67.0) == f"\n{WORDS}"
